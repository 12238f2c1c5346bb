"""Use several optimizers in one run, assigned to parameters by path patterns.

`"discriminator=adam(2e-4, b1=0.0)|every(1); generator=adam(1e-4, b1=0.0)|every(2)"` gives the two
networks of a GAN their own optimizers. `groups.Rules` finds the parameters of each rule.
"""

import re
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import Call, bind_call, parse_pipeline
from imgrec_jax.core.ranges import COUNT, POSITIVE
from imgrec_jax.core.task import PyTree
from imgrec_jax.optim.schedules import Schedule

KEY = "optim.by_path"
_TRY = "try 'discriminator=adam(2e-4, b1=0.0); .*=adam(1e-4)|every(2)'"
# The `=` after a pattern, not that of a group such as (?=...) or (?<=...) inside one.
_ENDS_A_PATTERN = re.compile(r"(?<![?<])=")


class Rule(NamedTuple):
    """One rule of `optim.by_path`.

    Attributes:
        pattern: a regular expression that is searched for in the paths of parameters.
        optimizer: its name and settings, without the learning rate.
        rate: the group's own peak learning rate, above 0; None = `optim.learning_rate`.
        every: the group is updated at every `every`-th step, 1 or more.
    """

    pattern: str
    optimizer: Call
    rate: float | None = None
    every: int = 1


class EveryState(NamedTuple):
    """The state of `every`: steps done, and the state of the wrapped optimizer."""

    step: Int[Array, ""]
    inner: PyTree


def read_rules(text: str) -> tuple[Rule, ...]:
    """Parse `"PATTERN=OPTIMIZER(RATE, setting=...)|every(k);..."`; the empty string has no rules.

    This does not check names and settings of optimizers.

    Raises:
        UsageError: a rule has another form, a rate is not above 0, or `every` is below 1.
    """
    return tuple(_read_rule(part.strip()) for part in text.split(";") if part.strip())


def every(optimizer: optax.GradientTransformation, k: int) -> optax.GradientTransformation:
    """Update only at the steps k, 2k, ..., where the first step is 1.

    At all other steps parameters and state stay bitwise unchanged, and the gradient is not used.
    The wrapped optimizer counts its updates: see `at_moves` for its schedule.
    """

    def init(params: PyTree) -> EveryState:
        return EveryState(jnp.zeros((), jnp.int32), optimizer.init(params))

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, EveryState]:
        step = state.step + 1
        due = step % k == 0
        moved, inner = optimizer.update(updates, state.inner, params)
        # -0.0, since adding 0.0 would turn a parameter of -0.0 into 0.0.
        moved = jax.tree.map(lambda u: jnp.where(due, u, jnp.full_like(u, -0.0)), moved)
        inner = jax.tree.map(lambda new, old: jnp.where(due, new, old), inner, state.inner)
        return moved, EveryState(step, inner)

    return optax.GradientTransformation(init, update)


def at_moves(schedule: Schedule, *, factor: float = 1.0, k: int = 1) -> Schedule:
    """Return `factor` times the schedule, as a function of the updates of `every(k)`, not of steps.

    Both are counted from 0: update m happens in step k (m + 1) - 1.
    """
    return lambda move: factor * schedule(k * (move + 1) - 1)


def _read_rule(text: str) -> Rule:
    pattern, *rest = (part.strip() for part in _ENDS_A_PATTERN.split(text, maxsplit=1))
    calls = parse_pipeline(rest[0]) if rest else ()
    if not pattern or not calls:
        raise UsageError(
            f"expected {KEY} as PATTERN=OPTIMIZER(RATE)|every(k);..., got '{text}'; {_TRY}"
        )
    optimizer, *stages = calls
    if len(stages) > 1:
        raise UsageError(
            f"expected one stage behind an optimizer of {KEY}, got {len(stages)} in '{text}'; "
            "try every(2) alone"
        )
    steps = [bind_call(f"stage of {KEY}", stage, {"every": _steps}) for stage in stages]
    return Rule(pattern, optimizer._replace(args=()), _rate(optimizer), *steps)


def _rate(call: Call) -> float | None:
    """Return the peak learning rate that a rule gives its optimizer."""
    if not call.args:
        return None
    rate, *others = call.args
    if others or not POSITIVE.accepts(rate):
        raise UsageError(
            f"expected {call.name}(RATE, setting=...) in {KEY} with a rate above 0, "
            f"up to {POSITIVE.high:g}, got "
            f"{call.name}({', '.join(map(repr, call.args))}); try {call.name}(1e-3)"
        )
    return float(rate)


def _steps(k: Annotated[int, COUNT]) -> int:
    return k
