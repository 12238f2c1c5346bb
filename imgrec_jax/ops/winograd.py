"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: a tile of 4x4
outputs is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A with the kernel g and a 6x6 tile d of pixels, so 36
multiplications for each pair of channels in place of 144. What is lost is accuracy: with the
points 0, ±3/4, ±3/2 rounding in float32 is three times that of a plain sum, 1.2e-6 of the outputs
in the root mean square with 256 channels (six times with the customary 0, ±1, ±2).

On one core (batch 64, forward pass and weight gradient): 128 channels of 16x16 take 12 and 16 ms,
through lax and by patches 23 and 27; 256 of 8x8 take 12 and 13 against 23 and 30.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from imgrec_jax.core.divisors import greatest_divisor

_Pads = Sequence[tuple[int, int]]

_TILE = 4  # of outputs
_KERNEL = 3
_WINDOW = _TILE + _KERNEL - 1
_FEWEST_CHANNELS = 96  # below this the transforms cost what the multiplications gain
_FEWEST_TILES = 1 / 8  # for each channel: with fewer the transform of the kernel is the most work


def _matrices(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A [w², t²], G [w², k²] and B [w², w²], from the points where polynomials are taken.

    Toom and Cook: the product of two polynomials is known from its values at as many points as
    it has coefficients, the last of them infinity; its transpose takes a window w and a kernel
    k to a tile t of outputs. Each is Kronecker's square of the matrix for one axis, so that it
    maps flat tiles.
    """
    p = np.asarray(points)
    others = [np.delete(p, i) for i in range(len(p))]
    scale = np.asarray([np.prod(p[i] - others[i]) for i in range(len(p))])
    infinity = np.eye(_WINDOW)[-1]
    a = np.vstack([p[:, None] ** np.arange(_TILE), infinity[-_TILE:]])
    g = np.vstack([p[:, None] ** np.arange(_KERNEL) / scale[:, None], infinity[-_KERNEL:]])
    b = np.vstack([*(np.append(np.poly(o)[::-1], 0.0) for o in others), np.poly(p)[::-1]])
    return np.kron(a, a), np.kron(g, g), np.kron(b, b)


_A, _G, _B = _matrices((0.0, 0.75, -0.75, 1.5, -1.5))


def suits(strides: Sequence[int], pads: _Pads, x: Array, kernel: Array) -> bool:
    """Tell whether pictures x [n, h, w, c] and a kernel [i, j, c, d] gain from this form."""
    h, w = _outputs(x, pads)
    return (
        kernel.shape[:2] == (_KERNEL, _KERNEL)
        and tuple(strides) == (1, 1)
        and max(p for pad in pads for p in pad) < _KERNEL
        and x.dtype == kernel.dtype == jnp.float32
        and min(kernel.shape[2:]) >= _FEWEST_CHANNELS
        and min(h, w) > 0
        and len(x) * _tiles(h, w) >= _FEWEST_TILES * max(kernel.shape[2:])
    )


def convolve(x: Array, kernel: Array, pads: _Pads, precision: Any = None) -> Array:
    """Return the convolution [n, h, w, d] with stride 1 of x [n, h, w, c], padded by `pads`."""
    transformed = _times(_G, kernel, precision)  # [w², c, d]
    windows, (h, w) = _in_whole_tiles(x, pads)

    def part(windows: Array) -> Array:
        products = jnp.matmul(_transformed(windows, precision), transformed, precision=precision)
        tiles = _times(_A.T, products, precision)
        rows, columns = ((size - _KERNEL + 1) // _TILE for size in windows.shape[1:3])
        y = tiles.reshape(_TILE, _TILE, len(windows), rows, columns, -1)
        return y.transpose(2, 3, 0, 4, 1, 5).reshape(len(windows), _TILE * rows, -1, y.shape[-1])

    at_once = _pictures_at_once((len(x), h, w), kernel)
    y = lax.map(part, windows.reshape(-1, at_once, *windows.shape[1:]))
    return y.reshape(len(x), *y.shape[2:])[:, :h, :w]


def weight_gradient(
    x: Array, kernel: Array, dy: Array, pads: _Pads, precision: Any = None
) -> Array:
    """Return the gradient of `convolve` with respect to its kernel, for dy [n, h, w, d]."""
    windows, (h, w) = _in_whole_tiles(x, pads)
    dy = jnp.pad(dy, ((0, 0), (0, -h % _TILE), (0, -w % _TILE), (0, 0)))

    def add(total: Array, part: Sequence[Array]) -> tuple[Array, None]:
        windows, dy = part
        n, h, w, d = dy.shape
        tiles = dy.reshape(n, h // _TILE, _TILE, w // _TILE, _TILE, d).transpose(2, 4, 0, 1, 3, 5)
        tiles = _times(_A, tiles.reshape(_TILE, _TILE, -1, d), precision)
        pixels = _transformed(windows, precision).swapaxes(1, 2)
        return total + jnp.matmul(pixels, tiles, precision=precision), None

    zeros = jnp.zeros((_WINDOW**2, *kernel.shape[2:]), dy.dtype)
    at_once = _pictures_at_once((len(x), h, w), kernel)
    parts = [a.reshape(-1, at_once, *a.shape[1:]) for a in (windows, dy)]
    total, _ = lax.scan(add, zeros, parts)
    return _times(_G.T, total, precision).reshape(kernel.shape)


def _times(matrix: np.ndarray, x: Array, precision: Any) -> Array:
    """Return matrix [p, q] times x [q..., c, d], whose q may be two axes: [p, c, d]."""
    flat = x.reshape(matrix.shape[1], -1)
    y = jnp.matmul(jnp.asarray(matrix, x.dtype), flat, precision=precision)
    return y.reshape(-1, *x.shape[-2:])


def _outputs(x: Array, pads: _Pads) -> tuple[int, ...]:
    """Return the height and width of the outputs."""
    sides = zip(x.shape[1:3], pads, strict=True)
    return tuple(size + sum(pad) - _KERNEL + 1 for size, pad in sides)


def _tiles(h: int, w: int) -> int:
    """Return how many tiles cover h x w outputs."""
    return -(-h // _TILE) * -(-w // _TILE)


def _in_whole_tiles(x: Array, pads: _Pads) -> tuple[Array, tuple[int, ...]]:
    """Return x padded to whole tiles of outputs, and the height and width of the outputs."""
    sizes = _outputs(x, pads)
    whole = [(low, high + -size % _TILE) for (low, high), size in zip(pads, sizes, strict=True)]
    return jnp.pad(x, ((0, 0), *whole, (0, 0))), sizes


def _pictures_at_once(sizes: Sequence[int], kernel: Array) -> int:
    """Return how many of [n, h, w] outputs to take in one go: what is made of them is as large
    as the transformed kernel, so that matmuls are square and both stay in the cache.
    """
    n, h, w = sizes
    tiles = max(128, *kernel.shape[2:])
    return greatest_divisor(n, tiles // _tiles(h, w))


def _transformed(windows: Array, precision: Any) -> Array:
    """Return Bᵀ d B of all 6x6 tiles d, [w², tiles, c], of padded pictures [n, h, w, c]."""
    ends = [size - _WINDOW + 1 for size in windows.shape[1:3]]
    pixels = [
        windows[:, i : i + ends[0] : _TILE, j : j + ends[1] : _TILE]
        for i in range(_WINDOW)
        for j in range(_WINDOW)
    ]
    tiles = jnp.stack([p.reshape(-1, windows.shape[-1]) for p in pixels])
    return _times(_B, tiles, precision)
