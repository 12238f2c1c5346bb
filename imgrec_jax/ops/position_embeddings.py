"""Position embeddings of image patches: fixed sines, and resized learned ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError


def sincos_positions(height: int, width: int, channels: int) -> Float[np.ndarray, "1 t c"]:
    """Return fixed position embeddings of `height` · `width` patches, row by row.

    The sine and cosine of the column and the sine and cosine of the row take a quarter of the
    channels each, at wavelengths from 2π to 20,000π (Vaswani et al. 2017, section 3.5, in two axes
    as in Beyer et al. 2022, "Better plain ViT baselines for ImageNet-1k").

    Raises:
        UsageError: `channels` is not a multiple of 4, or is below 8.
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


def sine_positions(valid: Bool[Array, "n h w"], channels: int) -> Float[Array, "n t c"]:
    """Return fixed position embeddings of h · w positions, with the valid part scaled to 2π by 2π.

    Half of the channels encodes the row and half the column, by alternating sine and cosine at
    wavelengths from 2π to 20,000π; the first valid row is 2π / rows (Carion et al. 2020,
    "End-to-End Object Detection with Transformers", appendix A.4).

    Args:
        valid: false for positions that only pad an image to the size of the batch.
        channels: a multiple of 4.
    """
    frequency = 10_000.0 ** -(np.arange(channels // 4) / (channels // 4))
    present = valid.astype(jnp.float32)
    parts: list[Array] = []
    for axis in (1, 2):
        count = jnp.cumsum(present, axis)
        last = jax.lax.slice_in_dim(count, count.shape[axis] - 1, None, axis=axis)
        place = count / (last + 1e-6) * (2 * math.pi)
        angle = place[..., None] * frequency.astype(np.float32).reshape(1, 1, 1, -1)
        waves = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        parts.append(waves.reshape(*valid.shape, channels // 2))
    return jnp.concatenate(parts, axis=-1).reshape(len(valid), -1, channels)


def resize_positions(
    positions: Float[Array, "1 t c"], tokens: int, *, extra: int
) -> Float[Array, "1 u c"]:
    """Resize learned position embeddings of a square grid to another square grid, `tokens` in all.

    The first `extra` (that of the class token) stay unchanged; the others are resized like an
    image by cubic interpolation, with smoothing if it shrinks.

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


def fit_positions(positions: Float[Array, "1 t c"], tokens: int) -> Float[Array, "1 u c"]:
    """Return learned position embeddings for `tokens` in all, resized if the grid differs.

    There is a class token if `tokens` minus one is a square number.

    Raises:
        UsageError: either grid is not square.
    """
    extra = int(math.isqrt(tokens - 1) ** 2 == tokens - 1)
    return resize_positions(positions, tokens, extra=extra)
