"""Learning-rate schedules: `(peak, total_steps, ...) -> step -> rate`.

Lengths (`warmup`, `cooldown`, `timescale`, `at`) are fractions of the whole run.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import Call
from imgrec_jax.core.ranges import FRACTION

Schedule = Callable[[int | Array], float | Array]
Part = Annotated[float, FRACTION]
"""Of the whole run, or of the peak rate."""
LENGTHS = ("at", "cooldown", "timescale", "warmup")
"""Arguments that are lengths, and so can also be given in steps, epochs or examples."""


def constant(
    peak: float,
    total_steps: int,
    *,
    warmup: Part = 0.0,
    cooldown: Part = 0.0,
) -> Schedule:
    """Rise linearly, stay at the peak, and fall linearly to zero over the fraction `cooldown`."""
    _check("constant", warmup=warmup, cooldown=cooldown)
    rise = round(warmup * total_steps)
    flat = optax.constant_schedule(peak)
    return _with_cooldown(_after_warmup(peak, rise, flat), total_steps, cooldown)


def cosine(
    peak: float,
    total_steps: int,
    *,
    warmup: Part = 0.0,
    final: Part = 0.0,
) -> Schedule:
    """Rise linearly over the first fraction `warmup` of training, then decay as a cosine.

    `final` is the last rate as a fraction of the peak. (Loshchilov & Hutter 2017, "SGDR", eq. 5.)
    """
    _check("cosine", warmup=warmup)
    rise = round(warmup * total_steps)
    fall = optax.cosine_decay_schedule(peak, max(total_steps - rise, 1), alpha=final)
    return _after_warmup(peak, rise, fall)


def linear(
    peak: float,
    total_steps: int,
    *,
    warmup: Part = 0.0,
    start: Part = 0.0,
    final: Part = 0.0,
) -> Schedule:
    """Rise linearly over the first fraction `warmup` of training, then fall linearly.

    `start` and `final` are the first and the last rate as fractions of the peak.
    """
    _check("linear", warmup=warmup)
    rise = round(warmup * total_steps)
    fall = optax.linear_schedule(peak, final * peak, max(total_steps - rise, 1))
    return _after_warmup(peak, rise, fall, start)


def one_cycle(
    peak: float,
    total_steps: int,
    *,
    warmup: Part = 0.3,
    start: Part = 0.04,
    final: Part = 4e-6,
) -> Schedule:
    """Rise as a cosine from `start` to the peak, then fall as a cosine to `final`.

    `start` and `final` are fractions of the peak. The policy of Smith & Topin 2018,
    "Super-Convergence", with cosines instead of lines; the momentum stays constant.
    """
    _check("one_cycle", warmup=warmup)
    rise = round(warmup * total_steps)
    up = optax.cosine_decay_schedule(peak * (1 - start), max(rise, 1))
    fall = optax.cosine_decay_schedule(peak, max(total_steps - rise, 1), alpha=final)
    if rise == 0:
        return fall  # pyright: ignore[reportReturnType]
    return optax.join_schedules([lambda step: peak - up(step), fall], [rise])  # pyright: ignore[reportReturnType]


def step(
    peak: float,
    total_steps: int,
    *,
    at: Annotated[tuple[float, ...] | float, FRACTION] = (0.5, 0.75),
    factor: Part = 0.1,
    warmup: Part = 0.0,
) -> Schedule:
    """Rise linearly, then multiply the rate by `factor` at each fraction of training in `at`."""
    places = at if isinstance(at, tuple | list) else (at,)
    _check("step", warmup=warmup)
    rise = round(warmup * total_steps)
    falls = {round(place * total_steps) - rise: factor for place in places}
    if len(falls) < len(places) or min(falls, default=1) <= 0:
        raise UsageError(
            f"expected step(at) to be different places after the warm-up, got {places} with "
            f"warmup={warmup:g} in {total_steps:,} steps; try step(at=(0.5, 0.75))"
        )
    return _after_warmup(peak, rise, optax.piecewise_constant_schedule(peak, falls))


def rsqrt(
    peak: float,
    total_steps: int,
    *,
    warmup: Part = 0.05,
    timescale: Part = 0.1,
    cooldown: Part = 0.1,
) -> Schedule:
    """Rise linearly, decay as peak · sqrt(t / (t + steps since then)), and fall linearly to zero.

    t is `timescale`. Stopping early costs only the cool-down (Zhai et al. 2022, "Scaling Vision
    Transformers", section 3.5).
    """
    _check("rsqrt", warmup=warmup, timescale=timescale, cooldown=cooldown)
    rise, scale = round(warmup * total_steps), max(timescale * total_steps, 1.0)

    def fall(step: Any) -> Array:
        return peak * jnp.sqrt(scale / (scale + jnp.asarray(step, jnp.float32)))

    return _with_cooldown(_after_warmup(peak, rise, fall), total_steps, cooldown)


def _after_warmup(peak: float, rise: int, schedule: optax.Schedule, start: float = 0.0) -> Schedule:
    """Reach `peak` in `rise` equal steps from `start`; if it is 0, begin with the first of them."""
    if rise == 0:
        return schedule  # pyright: ignore[reportReturnType]
    up = optax.linear_schedule(start * peak or peak / (rise + 1), peak, rise)
    return optax.join_schedules([up, schedule], [rise])  # pyright: ignore[reportReturnType]


def _with_cooldown(schedule: Schedule, total_steps: int, cooldown: float) -> Schedule:
    """Multiply by a line that falls from one to zero over the last fraction `cooldown`."""
    last = round(cooldown * total_steps)
    if last == 0:
        return schedule

    def cooled(step: int | Array) -> Array:
        left = (total_steps - jnp.asarray(step, jnp.float32)) / last
        return schedule(step) * jnp.clip(left, 0.0, 1.0)

    return cooled


def _check(name: str, **lengths: float) -> None:
    """Raise unless the lengths fit into the run one after another, and leave a step at the peak."""
    if sum(lengths.values()) > 1 or lengths["warmup"] >= 1:
        told = ", ".join(f"{key}={length:g}" for key, length in lengths.items())
        raise UsageError(
            f"expected {name}({', '.join(lengths)}) as parts of training that fit into it, "
            f"got {told}; try {name}(warmup=0.1)"
        )


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "one_cycle": one_cycle,
    "rsqrt": rsqrt,
    "step": step,
}


def in_parts_of_the_run(call: Call, units: Mapping[str, int]) -> Call:
    """Return a schedule's call with lengths such as `warmup_epochs=5` as fractions of the run.

    Args:
        call: of a schedule.
        units: how many epochs, steps, ... the run has.

    Raises:
        UsageError: a length is given twice, is not a number, or is longer than the run.
    """
    parts: dict[str, Any] = {}
    for key, value in call.kwargs.items():
        length, _, unit = key.rpartition("_")
        known = length in LENGTHS and unit in units
        name = length if known else key
        if name in parts:
            raise UsageError(
                f"expected one length of {name} in '{call.name}', got several; "
                f"try {name}=0.1, {name}_epochs=5 or {name}_steps=500 alone"
            )
        parts[name] = _part(f"{call.name}({key}=...)", value, units[unit]) if known else value
    return call._replace(kwargs=parts)


def _part(where: str, value: Any, whole: int) -> Any:
    """Return a length, or several, as fractions of the whole."""
    if isinstance(value, tuple | list):
        return tuple(_part(where, each, whole) for each in value)
    if type(value) not in {int, float}:
        raise UsageError(f"expected {where} to be a number, got {value!r}; try 5")
    if value > whole:
        raise UsageError(
            f"expected {where} to fit into the run of {whole:,}, got {value:g}; try less"
        )
    return value / whole
