"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4: a tile of 4x4
outputs is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A with the kernel g and a 6x6 tile d of pixels, so 36
multiplications for each pair of channels instead of 144. The price is accuracy: with the points
0, ±3/4, ±3/2 the rounding error in float32 is three times that of a plain sum, 1.2e-6 of the
outputs in the root mean square with 256 channels (six times with the customary 0, ±1, ±2).

The gradients transpose each of the three linear maps, so each transform is used by several
passes: that of the pixels by the forward pass and the gradient of the kernel, that of the
outputs' gradient by both gradients.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from imgrec_jax.core.barriers import separate
from imgrec_jax.core.host_cores import greatest_divisor
from imgrec_jax.core.task import PyTree
from imgrec_jax.ops.fast.cpu import IN_THE_CACHE

_Pads = Sequence[tuple[int, int]]

_TILE = 4  # of outputs
_KERNEL = 3
_WINDOW = _TILE + _KERNEL - 1
_FEWEST_TILES = 1 / 8  # for each channel: with fewer the transform of the kernel costs the most


def _matrices(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A [w², t²], G [w², k²] and B [w², w²] for the given interpolation points.

    Toom and Cook: the product of two polynomials is determined by its values at as many points
    as it has coefficients, the last of them infinity; its transpose maps a window w and a kernel
    k to a tile t of outputs. Each result is the Kronecker square of the matrix for one axis, so
    that it maps flat tiles.
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


def suits(
    strides: Sequence[int],
    pads: _Pads,
    y: Array | jax.ShapeDtypeStruct,
    kernel: Array,
    *,
    with_gradients: bool,
) -> bool:
    """Return whether this form suits a convolution y [n, h, w, d] with a kernel [i, j, c, d]."""
    n, h, w, _ = y.shape
    return (
        kernel.shape[:2] == (_KERNEL, _KERNEL)
        and tuple(strides) == (1, 1)
        and max(p for pad in pads for p in pad) < _KERNEL
        and y.dtype == kernel.dtype == jnp.float32
        and min(kernel.shape[2:]) >= _fewest_channels((n, h, w), kernel, with_gradients)
        and min(h, w) > 0
        and n * _tiles(h, w) >= _FEWEST_TILES * max(kernel.shape[2:])
    )


def convolve(x: Array, kernel: Array, pads: _Pads, precision: Any = None) -> tuple[Array, Array]:
    """Return the convolution with stride 1 of x [n, h, w, c] padded by `pads`: [n, h, w, d].

    Also return what `gradients` needs of x: its transformed tiles [w², tiles, c] if those of all
    images are computed at once, else x.
    """
    transformed = _times(_G, kernel, precision)  # [w², c, d]

    def part(x: Array) -> tuple[Array, Array]:
        n, h, w = _outputs(x, pads)
        pixels = _pixels(x, pads, precision)
        tiles = _times(_A.T, jnp.matmul(pixels, transformed, precision=precision), precision)
        tiles = tiles.reshape(_TILE, _TILE, n, _tiles(h), _tiles(w), -1)
        return _side_by_side(tiles)[:, :h, :w], pixels

    at_once = _images_at_once(_outputs(x, pads), kernel)
    if at_once == len(x):
        return part(x)
    _, y = _in_parts(lambda unused, x: (unused, part(x)[0]), (), (x,), at_once)
    return y, x


def gradients(
    kept: Array, kernel: Array, dy: Array, pads: _Pads, precision: Any = None
) -> tuple[Array, Array]:
    """Return the gradients of `convolve` for x and the kernel: each of its linear maps transposed.

    Args:
        kept: the second result of `convolve`.
        kernel: as in `convolve`.
        dy: the gradient [n, h, w, d] of its first result.
        pads: as in `convolve`.
        precision: as in `convolve`.
    """
    transformed = _times(_G, kernel, precision).swapaxes(1, 2)  # [w², d, c]
    (top, bottom), (left, right) = pads

    def add(total: Array, pixels: Array, dy: Array) -> tuple[Array, Array]:
        n, h, w, d = dy.shape
        dy = jnp.pad(dy, ((0, 0), (0, -h % _TILE), (0, -w % _TILE), (0, 0)))
        tiles = dy.reshape(n, _tiles(h), _TILE, _tiles(w), _TILE, d).transpose(2, 4, 0, 1, 3, 5)
        tiles = _times(_A, tiles.reshape(_TILE, _TILE, -1, d), precision)
        windows = _times(_B.T, jnp.matmul(tiles, transformed, precision=precision), precision)
        windows = windows.reshape(_WINDOW, _WINDOW, n, _tiles(h), _tiles(w), -1)
        dx = _side_by_side(_without_overlap(windows))
        h, w = h + _KERNEL - 1 - top - bottom, w + _KERNEL - 1 - left - right
        total = total + jnp.matmul(pixels.swapaxes(1, 2), tiles, precision=precision)
        return total, dx[:, top : top + h, left : left + w]

    total = jnp.zeros((_WINDOW**2, *kernel.shape[2:]), dy.dtype)
    at_once = _images_at_once(dy.shape[:3], kernel)
    if at_once == len(dy):
        total, dx = add(total, kept, dy)
        dx = separate(dx)
    else:
        total, dx = _in_parts(
            lambda total, x, dy: add(total, _pixels(x, pads, precision), dy),
            total,
            (kept, dy),
            at_once,
        )
    return dx, _times(_G.T, total, precision).reshape(kernel.shape)


def _times(matrix: np.ndarray, x: Array, precision: Any) -> Array:
    """Return matrix [p, q] times x [q..., c, d], whose q may be two axes: [p, c, d]."""
    flat = x.reshape(matrix.shape[1], -1)
    y = jnp.matmul(jnp.asarray(matrix, x.dtype), flat, precision=precision)
    return y.reshape(-1, *x.shape[-2:])


def _outputs(x: Array, pads: _Pads) -> tuple[int, int, int]:
    """Return the number of images, and the height and width of their outputs."""
    h, w = (size + sum(pad) - _KERNEL + 1 for size, pad in zip(x.shape[1:3], pads, strict=True))
    return len(x), h, w


def _tiles(*sizes: int) -> int:
    """Return how many tiles cover outputs of this length, or of this height and width."""
    return math.prod(-(-size // _TILE) for size in sizes)


def _fewest_channels(sizes: Sequence[int], kernel: Array, with_gradients: bool) -> int:
    """Return the number of channels below which the transforms cost more than they save.

    Few if the intermediate arrays stay in the cache, or if two of the transforms are used by two
    passes each; many if not even those of one image stay there.
    """
    if _bytes(sizes, kernel) <= IN_THE_CACHE:
        return 32
    if _bytes((1, *sizes[1:]), kernel) > 2 * IN_THE_CACHE:
        return 96
    return 32 if with_gradients else 48


def _images_at_once(sizes: Sequence[int], kernel: Array) -> int:
    """Return how many images of [n, h, w] outputs to process at once.

    If not all, as many as make the intermediate arrays as large as the transformed kernel, so
    that matmuls are square.
    """
    n, h, w = sizes
    if _bytes(sizes, kernel) <= IN_THE_CACHE:
        return n
    return greatest_divisor(n, max(128, *kernel.shape[2:]) // _tiles(h, w))


def _bytes(sizes: Sequence[int], kernel: Array) -> int:
    """Return the bytes of transformed pixels and products for [n, h, w] outputs."""
    n, h, w = sizes
    return n * _tiles(h, w) * _WINDOW**2 * sum(kernel.shape[2:]) * kernel.dtype.itemsize


def _in_parts(
    function: Callable[..., tuple[PyTree, Array]], total: PyTree, arrays: Sequence[Array], size: int
) -> tuple[PyTree, Array]:
    """Return `(total, result)` of a function of a total and `size` of the images in arrays.

    The images of a part are evenly spaced, so devices that share the batch share each part.
    """
    split = [a.reshape(size, -1, *a.shape[1:]) for a in arrays]
    parts = split[0].shape[1]

    def step(k: int | Array, total: PyTree) -> tuple[PyTree, Array]:
        return function(
            total, *(lax.dynamic_index_in_dim(a, k, axis=1, keepdims=False) for a in split)
        )

    def body(k: Array, carry: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        total, results = carry
        total, result = step(k, total)
        return total, lax.dynamic_update_index_in_dim(results, result, k, axis=1)

    _, like = jax.eval_shape(step, 0, total)
    results = jnp.zeros((size, parts, *like.shape[1:]), like.dtype)
    total, results = lax.fori_loop(0, parts, body, (total, results))
    return total, results.reshape(-1, *like.shape[1:])


def _pixels(x: Array, pads: _Pads, precision: Any) -> Array:
    """Return Bᵀ d B [w², tiles, c] of the 6x6 tiles d of images [n, h, w, c] padded by `pads`."""
    _, h, w = _outputs(x, pads)
    whole = [(low, high + -s % _TILE) for (low, high), s in zip(pads, (h, w), strict=True)]
    x = jnp.pad(x, ((0, 0), *whole, (0, 0)))
    ends = [size - _WINDOW + 1 for size in x.shape[1:3]]
    pixels = [
        x[:, i : i + ends[0] : _TILE, j : j + ends[1] : _TILE]
        for i in range(_WINDOW)
        for j in range(_WINDOW)
    ]
    tiles = jnp.stack([p.reshape(-1, x.shape[-1]) for p in pixels])
    return _times(_B, tiles, precision)


def _without_overlap(windows: Array) -> Array:
    """Return tiles [4, 4, n, rows + 1, columns + 1, c] from windows [6, 6, n, rows, columns, c].

    Neighbouring windows overlap by two pixels, where they are added up.
    """
    for window, place in ((0, 3), (1, 4)):
        low = lax.slice_in_dim(windows, 0, _TILE, axis=window)
        high = lax.slice_in_dim(windows, _TILE, _WINDOW, axis=window)
        low = _padded(low, place, (0, 1))
        high = _padded(_padded(high, place, (1, 0)), window, (0, 2 * _TILE - _WINDOW))
        windows = low + high
    return windows


def _padded(x: Array, axis: int, pad: tuple[int, int]) -> Array:
    return jnp.pad(x, [pad if k == axis else (0, 0) for k in range(x.ndim)])


def _side_by_side(tiles: Array) -> Array:
    """Return images [n, h, w, c] of tiles [4, 4, n, rows, columns, c]."""
    _, _, n, rows, columns, c = tiles.shape
    return tiles.transpose(2, 3, 0, 4, 1, 5).reshape(n, _TILE * rows, _TILE * columns, c)
