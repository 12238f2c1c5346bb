"""Losses on the difference of two images, by the names that configs use."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array

from imgrec_jax.core.errors import unknown

Distance = Callable[[Array], Array]

_EPSILON = 1e-3


def charbonnier(difference: Array) -> Array:
    """Return sqrt(d² + 1e-6), a smooth absolute value (Lai et al. 2017)."""
    return jnp.sqrt(jnp.square(difference) + _EPSILON**2)


LOSSES: Mapping[str, Distance] = {"l1": jnp.abs, "l2": jnp.square, "charbonnier": charbonnier}


def read_loss(name: str) -> Distance:
    """Return the loss of a name.

    Raises:
        UsageError: unknown name.
    """
    if name not in LOSSES:
        raise unknown("task.super_resolution.loss", name, LOSSES)
    return LOSSES[name]
