"""Where a patch stands in the picture, as a vector: fixed sines, and learned ones made to fit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError


def sincos_positions(height: int, width: int, channels: int) -> Float[np.ndarray, "1 t c"]:
    """Return fixed positions of `height` · `width` patches, row by row.

    A quarter of the channels each is the sine of the column, its cosine, the sine of the row and
    its cosine, at wavelengths from 2π to 20,000π (Vaswani et al. 2017, section 3.5, in two axes
    as in Beyer et al. 2022, "Better plain ViT baselines for ImageNet-1k").

    Raises:
        UsageError: `channels` is no multiple of 4, or fewer than 8.
    """
    if channels % 4 or channels < 8:
        raise UsageError(
            f"expected a width that is a multiple of 4 (8 or more) for sin-cos positions, "
            f"got {channels}; try positions='learned'"
        )
    quarter = channels // 4
    frequency = 10_000.0 ** -(np.arange(quarter) / (quarter - 1))
    rows, columns = np.mgrid[:height, :width].reshape(2, -1, 1)
    angles = (columns * frequency, rows * frequency)
    parts = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1)[None].astype(np.float32)


def resize_positions(
    positions: Float[Array, "1 t c"], tokens: int, *, extra: int
) -> Float[Array, "1 u c"]:
    """Return learned positions of a square grid for another square grid, `tokens` in all.

    The first `extra` (that of the class token) stay as they are; the others are a picture that
    is resized by cubic interpolation, smoothed where it shrinks.

    Raises:
        UsageError: either grid is not square.
    """
    sides = [math.isqrt(n - extra) for n in (positions.shape[1], tokens)]
    if [side**2 for side in sides] != [positions.shape[1] - extra, tokens - extra]:
        raise UsageError(
            f"expected positions of square grids to resize, got {positions.shape[1] - extra} "
            f"patches for {tokens - extra}; try a square image_size"
        )
    old, new = sides
    if old == new:
        return positions
    grid = positions[:, extra:].reshape(1, old, old, -1)
    resized = jax.image.resize(grid, (1, new, new, grid.shape[-1]), "cubic")
    return jnp.concatenate([positions[:, :extra], resized.reshape(1, new * new, -1)], axis=1)
