"""Bicubic resizing on the host, as the super-resolution literature measures it.

The kernel is that of Keys (1981, "Cubic convolution interpolation for digital image processing")
with a = -0.5, widened by the factor when images shrink, with borders mirrored: MATLAB's `imresize`.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

_SUPPORT = 2.0  # pixels on each side that the kernel covers


def bicubic_weights(size: int, new_size: int) -> Float[np.ndarray, "new_size size"]:
    """Return the matrix that resizes `size` pixels to `new_size`; its rows add up to one."""
    return _weights(size, new_size).copy()


def downscale(image: Float[np.ndarray, "h w c"], scale: int) -> Float[np.ndarray, "i j c"]:
    """Return an image reduced by a whole factor that divides its sides, antialiased."""
    height, width = (side // scale for side in image.shape[:2])
    return resize(image, height, width)


def resize(
    image: Float[np.ndarray, "h w c"], height: int, width: int
) -> Float[np.ndarray, "i j c"]:
    """Return an image of another size; values may leave the range of the image."""
    rows, columns = _weights(image.shape[0], height), _weights(image.shape[1], width)
    shorter = (rows @ image.reshape(len(image), -1)).reshape(height, *image.shape[1:])
    return np.moveaxis(np.moveaxis(shorter, 1, 2) @ columns.T, 1, 2)


@lru_cache(maxsize=64)
def _weights(size: int, new_size: int) -> np.ndarray:
    factor = new_size / size
    stretch = max(1.0, 1.0 / factor)  # a smaller image averages over more pixels: antialiasing
    centres = (np.arange(new_size) + 0.5) / factor - 0.5
    reach = _SUPPORT * stretch
    first = np.floor(centres - reach).astype(np.int64) + 1
    taps = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 1)
    values = _kernel((centres[:, None] - taps) / stretch)
    values /= values.sum(1, keepdims=True)
    weights = np.zeros((new_size, size))
    np.add.at(weights, (np.arange(new_size)[:, None], _mirrored(taps, size)), values)
    return weights


def _kernel(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1.0
    far = -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0
    return np.where(x <= 1, near, np.where(x <= _SUPPORT, far, 0.0))


def _mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Return places outside 0 .. size - 1 mirrored at the border, which is repeated."""
    period = places % (2 * size)
    return np.minimum(period, 2 * size - 1 - period)
