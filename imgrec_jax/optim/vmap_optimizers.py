"""Optimize many networks at once, whose parameters are stacked along a leading axis."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def stacked(
    make: Callable[[Mapping[str, Any]], optax.GradientTransformation],
    settings: Mapping[str, Sequence[float]],
) -> optax.GradientTransformation:
    """Return an optimizer that updates each of k networks independently.

    Args:
        make: returns the optimizer of one network, given settings as float32[] arrays.
        settings: k numbers by name, such as the learning rate of each network.
    """
    numbers = {name: jnp.asarray(values, jnp.float32) for name, values in settings.items()}

    def init(params: optax.Params) -> optax.OptState:
        return jax.vmap(lambda own, params: make(own).init(params))(numbers, params)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        def one(own: Any, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
            moves, state = make(own).update(gradients, state, params)
            return jax.tree.map(lambda u, g: u.astype(g.dtype), moves, gradients), state

        return jax.vmap(one)(numbers, updates, state, params)

    return optax.GradientTransformation(init, update)
