"""Draw random image windows by area and aspect ratio."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from imgrec_jax.core.errors import UsageError

TRIES = 10

Window = Float[Array, "4"]
"""top, left, height, width as parts of the image's own (0 .. 1)."""


def draw_window(key: Key[Array, ""], low: float, high: float, aspect: float) -> Window:
    """Return a window with an area even in low .. high, somewhere inside the image.

    The aspect (width over height, 1 being the image's own) is log-uniform in 1 / aspect ..
    aspect. Of ten windows drawn the first that fits is taken, and if none does the whole
    image, as torchvision's RandomResizedCrop does; so windows that fit badly (large and
    slim) are rarer than their area alone would have it.
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


def check_window(name: str, low: float, high: float, aspect: float) -> None:
    """Raise where areas or aspects are impossible."""
    if not (0 < low <= high <= 1 and aspect >= 1):
        raise UsageError(
            f"expected {name}(low, high, aspect) with 0 < low <= high <= 1 and aspect of 1 or "
            f"more, got low={low}, high={high}, aspect={aspect}; try {name}"
        )
