"""Max pooling with a fast gradient on CPU.

XLA lowers the gradient of `lax.reduce_window` to select-and-scatter, which on CPU is a scalar
loop: 32 ms of a 77 ms training step of the ConvNet. If windows do not overlap, each input
belongs to at most one window, and the gradient is one comparison per input with the position of
that window's maximum.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from imgrec_jax.core.barriers import separate
from imgrec_jax.ops.fast.cpu import IN_THE_CACHE


def max_pool(
    inputs: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """Pool exactly as `flax.linen.max_pool` does, in a faster form on CPU.

    Images [n, h, w, c] in windows that do not overlap and need no padding use the fast form on
    CPU; everything else and every other platform uses `lax.reduce_window`. The gradient goes to
    the first maximum of a window in row-major order, as in XLA. The fast form has a custom VJP, so
    forward-mode differentiation is not supported (`config.ops = "plain"` turns the form off).
    """
    window = tuple(window_shape)

    def plain(x: Array) -> Array:
        return nn.max_pool(x, window, strides, padding)  # pyright: ignore[reportArgumentType]

    if not (
        inputs.ndim == 4
        and len(window) == 2
        and tuple(strides or (1, 1)) == window
        and jnp.issubdtype(inputs.dtype, jnp.floating)
        and _tiles(inputs.shape, window, padding)
    ):
        return plain(inputs)
    return lax.platform_dependent(inputs, cpu=functools.partial(_pool_tiles, window), default=plain)


def _tiles(
    shape: Sequence[int], window: tuple[int, ...], padding: str | Sequence[tuple[int, int]]
) -> bool:
    """Return whether at least one window fits and none extends beyond the edge."""
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(shape[1:3], window, window, padding)
    unpadded = all(low == high == 0 for low, high in padding)
    return unpadded and shape[1] >= window[0] and shape[2] >= window[1] and min(shape) > 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool_tiles(window: tuple[int, int], x: Array) -> Array:
    if x.nbytes <= IN_THE_CACHE:
        return separate(functools.reduce(jnp.maximum, _places(window, x)))
    return nn.max_pool(x, window, window)  # in one loop with the convolution and ReLU before


def _forward(window: tuple[int, int], x: Array) -> tuple[Array, tuple[Array, Array]]:
    places = _places(window, x)
    best, where = places[0], jnp.zeros(places[0].shape, jnp.int32)
    for k, candidate in enumerate(places[1:], start=1):
        keep = best >= candidate  # the first maximum stays
        best, where = jnp.where(keep, best, candidate), jnp.where(keep, where, k)
    # Not `best`, which loses a NaN that is followed by a number.
    highest, where = separate((functools.reduce(jnp.maximum, places), where.astype(jnp.int8)))
    # The empty array carries the shape of x, which is lost if the window does not divide it.
    return highest, (where, jnp.empty((0, *x.shape), x.dtype))


def _backward(
    window: tuple[int, int], residuals: tuple[Array, Array], gradient: Array
) -> tuple[Array]:
    where, like = residuals
    _, n, h, w, c = like.shape
    kh, kw = window
    rows, columns = where.shape[1:3]
    place = jnp.arange(kh * kw, dtype=where.dtype).reshape(1, 1, kh, 1, kw, 1)
    hit = where[:, :, None, :, None] == place
    spread = jnp.where(hit, gradient[:, :, None, :, None], 0)
    spread = spread.reshape(n, rows * kh, columns * kw, c)
    rest = ((0, 0), (0, h - rows * kh), (0, w - columns * kw), (0, 0))
    return (jnp.pad(spread, rest),)


_pool_tiles.defvjp(_forward, _backward)


def _places(window: tuple[int, int], x: Array) -> list[Array]:
    """Return one [n, rows, columns, c] array per position in the window, in row-major order."""
    kh, kw = window
    h, w = x.shape[1] // kh * kh, x.shape[2] // kw * kw
    return [x[:, i:h:kh, j:w:kw] for i in range(kh) for j in range(kw)]
