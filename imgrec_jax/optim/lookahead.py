"""Lookahead (slow weights), and parameters that stop training early."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from imgrec_jax.core.ranges import BELOW_ONE, COUNT, Range
from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.optim import param_patterns

POWER = Range(float, 0, 100)


class LookaheadState(NamedTuple):
    """The state of `lookahead`: steps done, slow weights, and the wrapped optimizer's state."""

    step: Int[Array, ""]
    slow: PyTree
    fast: PyTree


class StoppedState(NamedTuple):
    """The state of `stopped`: steps done, and the state of the wrapped optimizer."""

    step: Int[Array, ""]
    inner: PyTree


def lookahead(
    optimizer: optax.GradientTransformation,
    total_steps: int,
    *,
    every: Annotated[int, COUNT] = 5,
    decay: Annotated[float, BELOW_ONE] = 0.5,
    power: Annotated[float, POWER] = 0.0,
) -> optax.GradientTransformation:
    """Move slow weights towards the trained ones every few steps, and continue training from them.

    slow ← d slow + (1 - d) fast with d = decay · (step / total_steps)^power, also at the last
    step. With power 0 this is Zhang et al. 2019, "Lookahead Optimizer", algorithm 1, whose
    alpha is 1 - decay; airbench lets d grow as a cube (Jordan 2024, arXiv:2404.00498, section 3.4).
    The slow weights start as the initial weights, including loaded ones.
    """

    def init(params: PyTree) -> LookaheadState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return LookaheadState(jnp.zeros((), jnp.int32), zeros, optimizer.init(params))

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, LookaheadState]:
        updates, fast = optimizer.update(updates, state.fast, params)
        step = state.step + 1
        part = 1.0 - decay * (step / total_steps) ** power
        due = (step % every == 0) | (step == total_steps)

        def follow(slow: Array, old: Array, update: Array) -> Array:
            slow = jnp.where(state.step == 0, old, slow)
            ahead = slow + (part * (old + update - slow)).astype(slow.dtype)
            return jnp.where(due, ahead, slow)

        slow = jax.tree.map(follow, state.slow, params, updates)
        updates = jax.tree.map(lambda u, s, p: jnp.where(due, s - p, u), updates, slow, params)
        return updates, LookaheadState(step, slow, fast)

    return optax.GradientTransformation(init, update)


def stopped(
    optimizer: optax.GradientTransformation, rules: str, steps_per_epoch: float
) -> optax.GradientTransformation:
    """Train some parameters only in the first epochs: `"whiten/bias=3;PATTERN=EPOCHS"`.

    Later they stay fixed; their optimizer state is still updated.

    Raises:
        UsageError: a pattern matches no parameter (raised when the parameters are known).
    """

    def init(params: PyTree) -> StoppedState:
        param_patterns.multipliers("optim.freeze_later", rules, param_patterns.shapes(params))
        return StoppedState(jnp.zeros((), jnp.int32), optimizer.init(params))

    def update(updates: PyTree, state: Any, params: PyTree = None) -> tuple[PyTree, StoppedState]:
        epochs: Mapping[str, float] = param_patterns.multipliers(
            "optim.freeze_later", rules, param_patterns.shapes(params)
        )
        updates, inner = optimizer.update(updates, state.inner, params)

        def move(path: Any, update: Array) -> Array:
            last = epochs.get(path_name(path), math.inf) * steps_per_epoch
            return update if last == math.inf else jnp.where(state.step < last, update, 0)

        return jax.tree_util.tree_map_with_path(move, updates), StoppedState(state.step + 1, inner)

    return optax.GradientTransformation(init, update)
