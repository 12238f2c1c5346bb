"""One optimizer for many networks, whose parameters lie along a leading axis."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def stacked(
    optimizer: optax.GradientTransformation, rates: Sequence[float]
) -> optax.GradientTransformation:
    """Return the optimizer that moves each of k networks by itself.

    Args:
        optimizer: of one network; its last step multiplies by the learning rate, decay included,
            as optax's optimizers do.
        rates: what to multiply the learning rate of each network by.
    """
    scales = jnp.asarray(rates, jnp.float32)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        def one(scale: Any, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
            updates, state = optimizer.update(gradients, state, params)
            return jax.tree.map(lambda u: (scale * u).astype(u.dtype), updates), state

        return jax.vmap(one)(scales, updates, state, params)

    return optax.GradientTransformation(jax.vmap(optimizer.init), update)
