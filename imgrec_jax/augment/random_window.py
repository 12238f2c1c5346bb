"""Draw random image windows by area and aspect ratio."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from imgrec_jax.core.errors import UsageError

TRIES = 10

Window = Float[Array, "4"]
"""top, left, height, width as fractions of the image's size (0 .. 1)."""


def draw_window(key: Key[Array, ""], low: float, high: float, aspect: float) -> Window:
    """Return a random window inside the image, with an area uniform in low .. high.

    The aspect (width over height, 1 is the image's own) is log-uniform in 1 / aspect .. aspect.
    The first of ten drawn windows that fits is used, or the whole image if none fits, as in
    torchvision's RandomResizedCrop. So windows that rarely fit (large and slim) are rarer than
    their area alone implies.
    """
    shape_key, place_key = jax.random.split(key)
    evenly = jax.random.uniform(shape_key, (2, TRIES))
    area = low + (high - low) * evenly[0]
    ratio = jnp.exp(math.log(aspect) * (2.0 * evenly[1] - 1.0))
    heights, widths = jnp.sqrt(area / ratio), jnp.sqrt(area * ratio)
    fits = (heights <= 1.0) & (widths <= 1.0)
    first, any_fits = jnp.argmax(fits), fits.any()
    height = jnp.where(any_fits, heights[first], 1.0)
    width = jnp.where(any_fits, widths[first], 1.0)
    place = jax.random.uniform(place_key, (2,))
    return jnp.stack([place[0] * (1.0 - height), place[1] * (1.0 - width), height, width])


def check_window(name: str, low: float, high: float) -> None:
    """Raise unless the least area is no more than the greatest."""
    if low > high:
        raise UsageError(
            f"expected {name}(low, high) with low <= high, got {low}, {high}; try {name}"
        )
