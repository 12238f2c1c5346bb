"""Augmentations that change values in place; same conventions as `geometry`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from imgrec_jax.augment.geometry import Augmentation, Images
from imgrec_jax.core.errors import UsageError


def noise(std: float = 0.02) -> Augmentation:
    """Add Gaussian noise of the given standard deviation (pixels run 0 .. 1) and clip."""
    if std < 0:
        raise UsageError(f"expected noise(std=0 or more), got std={std}; try noise(0.02)")

    def apply(keys: Key[Array, " n"], images: Images) -> Images:
        normal = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(keys)
        return jnp.clip(images + std * normal, 0.0, 1.0)

    return apply
