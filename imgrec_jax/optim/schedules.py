"""Learning-rate schedules: `(peak, total_steps, ...) -> step -> rate`."""

from collections.abc import Callable

import optax
from jaxtyping import Array

from imgrec_jax.core.errors import UsageError

Schedule = Callable[[int | Array], float | Array]


def constant(peak: float, total_steps: int) -> Schedule:
    """The peak throughout."""
    del total_steps
    return optax.constant_schedule(peak)  # pyright: ignore[reportReturnType]


def cosine(peak: float, total_steps: int, *, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """Rise linearly over the first part `warmup` of training, then fall as a cosine.

    `final` is the last rate as a part of the peak. (Loshchilov & Hutter 2017, "SGDR", eq. 5.)
    """
    _check("cosine", warmup, final)
    rise = round(warmup * total_steps)
    fall = optax.cosine_decay_schedule(peak, max(total_steps - rise, 1), alpha=final)
    return _after_warmup(peak, rise, fall)


def linear(peak: float, total_steps: int, *, warmup: float = 0.0, final: float = 0.0) -> Schedule:
    """Rise linearly over the first part `warmup` of training, then fall linearly.

    `final` is the last rate as a part of the peak. With warm-up this is the "one cycle" of
    Smith & Topin 2018, "Super-Convergence", without its last phase.
    """
    _check("linear", warmup, final)
    rise = round(warmup * total_steps)
    fall = optax.linear_schedule(peak, final * peak, max(total_steps - rise, 1))
    return _after_warmup(peak, rise, fall)


def _after_warmup(peak: float, rise: int, schedule: optax.Schedule) -> Schedule:
    """Reach `peak` in `rise` equal steps, the first of which is not zero; then `schedule`."""
    if rise == 0:
        return schedule  # pyright: ignore[reportReturnType]
    up = optax.linear_schedule(peak / (rise + 1), peak, rise)
    return optax.join_schedules([up, schedule], [rise])  # pyright: ignore[reportReturnType]


def _check(name: str, warmup: float, final: float) -> None:
    if not (0 <= warmup < 1 and 0 <= final <= 1):
        raise UsageError(
            f"expected {name}(warmup, final) as parts of training and of the peak rate, "
            f"got warmup={warmup}, final={final}; try {name}(warmup=0.1)"
        )
