"""Fast convolution on CPU with the signature of `lax.conv_general_dilated`.

Three costs of training, each measured on one core (float32, 3x3 kernels):
- forward with 3 input channels, batch 32: 1.7 ms with lax, 0.5 ms as patches and one matmul;
- weight gradient, 64 channels of 32x32, batch 64: 131 ms as patches of all images and a matmul,
  34 ms with the patches of a few images at a time, which stay in the cache (torch: 24 ms);
- input gradient, and forward with many channels: lax is the fastest and is used, except that 3x3
  kernels of 32 channels or more use Winograd's algorithm (`winograd.py`).

Inside `lax.scan` the weight gradient with lax takes a second; these forms keep their speed.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from imgrec_jax.core.host_cores import greatest_divisor
from imgrec_jax.ops.fast import winograd
from imgrec_jax.ops.fast.cpu import IN_THE_CACHE

_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 8  # below this lax cannot fill its vector registers

_Pair = tuple[int, ...]
_Pads = tuple[tuple[int, int], ...]


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """Convolve exactly as `lax.conv_general_dilated` does, in a faster form on CPU.

    Made for `nn.Conv(conv_general_dilated=...)`. Images [n, h, w, c] with kernels
    [i, j, c, d] and no dilation or groups use the fast form on CPU; everything else and
    every other platform uses lax. The fast form has a custom VJP, so forward-mode
    differentiation is not supported (`config.ops = "plain"` turns the fast form off).
    """
    plain = functools.partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    grouped = feature_group_count != 1 or batch_group_count != 1
    if lhs.ndim != 4 or dilated or grouped or preferred_element_type is not None:
        return plain(lhs, rhs)
    layout = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if layout != lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC):
        return plain(lhs, rhs)
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], strides, padding)
    pads = tuple((int(low), int(high)) for low, high in padding)
    if any(p < 0 for pad in pads for p in pad):
        return plain(lhs, rhs)
    fast = functools.partial(_convolve, strides, pads, precision)
    return lax.platform_dependent(lhs, rhs, cpu=fast, default=plain)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _convolve(strides: _Pair, pads: _Pads, precision: Any, x: Array, kernel: Array) -> Array:
    y, _ = _with_residuals(strides, pads, precision, x, kernel, with_gradients=False)
    return y


def _forward(
    strides: _Pair, pads: _Pads, precision: Any, x: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _with_residuals(strides, pads, precision, x, kernel, with_gradients=True)


def _with_residuals(
    strides: _Pair, pads: _Pads, precision: Any, x: Array, kernel: Array, *, with_gradients: bool
) -> tuple[Array, tuple[Array, Array]]:
    plain = _lax(strides, pads, precision)
    like = jax.eval_shape(plain, x, kernel)
    if winograd.suits(strides, pads, like, kernel, with_gradients=with_gradients):
        y, kept = winograd.convolve(x, kernel, pads, precision)
        return y, (kept, kernel)
    size = like.shape[1:3]
    patches_fit = 0 < len(x) * _patch_bytes(x, kernel, size) <= IN_THE_CACHE
    if x.shape[-1] >= _FEW_CHANNELS or not patches_fit:
        return _vmapped_in_front(plain(x, kernel)), (x, kernel)
    # The weight gradient uses the same patches: XLA computes them once.
    patches = _patches(strides, kernel.shape[:2], size, jnp.pad(x, ((0, 0), *pads, (0, 0))))
    y = jnp.matmul(patches, kernel.reshape(-1, kernel.shape[-1]), precision=precision)
    return y.reshape(like.shape), (x, kernel)


def _backward(
    strides: _Pair, pads: _Pads, precision: Any, residuals: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    if winograd.suits(strides, pads, dy, kernel, with_gradients=True):
        return winograd.gradients(x, kernel, dy, pads, precision)
    plain = _lax(strides, pads, precision)
    (dx,) = jax.linear_transpose(lambda x: plain(x, kernel), x)(dy)
    return dx, _weight_gradient(strides, pads, precision, x, kernel, dy)


_convolve.defvjp(_forward, _backward)


def _lax(strides: _Pair, pads: _Pads, precision: Any) -> Callable[[Array, Array], Array]:
    return functools.partial(
        lax.conv_general_dilated,
        window_strides=strides,
        padding=pads,
        dimension_numbers=_NHWC,
        precision=precision,
    )


def _vmapped_in_front(y: Array) -> Array:
    """Return y unchanged, but under vmap with the mapped axis in front, as in the matmul.

    A custom VJP inside `platform_dependent` must put that axis at the same position in both of
    its forms: JAX 0.10 and 0.12 take it from one of them. A reshape moves it; XLA removes that.
    """
    return y.reshape(-1, y.shape[-1]).reshape(y.shape)


def _patch_bytes(x: Array, kernel: Array, size: _Pair) -> int:
    """Return the bytes of the patches of one image."""
    return math.prod(size) * math.prod(kernel.shape[:3]) * x.dtype.itemsize


def _weight_gradient(
    strides: _Pair, pads: _Pads, precision: Any, x: Array, kernel: Array, dy: Array
) -> Array:
    """Return patches^T @ dy in the shape of the kernel, summed over parts that fit the cache.

    A part is several images, or some rows of one image if its patches are too large.
    """
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (n, h, w, d), (kh, kw, c, _), stride = dy.shape, kernel.shape, strides[0]
    of_one = max(1, _patch_bytes(x, kernel, (h, w)))
    rows = greatest_divisor(h, h * IN_THE_CACHE // of_one)
    images = greatest_divisor(n, IN_THE_CACHE // of_one)
    sum_type = dy.dtype if dy.dtype.itemsize > 4 else jnp.float32

    def add(part: int | Array, total: Array) -> Array:
        image, y = part // (h // rows) * images, part % (h // rows) * rows
        part_of_x = lax.dynamic_slice(
            x, (image, y * stride, 0, 0), (images, (rows - 1) * stride + kh, *x.shape[2:])
        )
        part_of_dy = lax.dynamic_slice(dy, (image, y, 0, 0), (images, rows, w, d))
        patches = _patches(strides, (kh, kw), (rows, w), part_of_x)
        # Transposed, [d, i*j*c], the matmul is a third faster than as [i*j*c, d].
        found = jnp.matmul(
            part_of_dy.reshape(-1, d).T,
            patches,
            precision=precision,
            preferred_element_type=sum_type,
        )
        return total + found

    parts = n // images * (h // rows)
    total = lax.fori_loop(0, parts, add, jnp.zeros((d, kh * kw * c), sum_type))
    return total.T.reshape(kernel.shape).astype(kernel.dtype)


def _patches(strides: _Pair, window: _Pair, size: _Pair, x: Array) -> Array:
    """Return the patches [n*h*w, i*j*c] of padded images, in the order of a kernel [i, j, c, d].

    For each position [i, j] of the kernel they hold the pixels under it, side by side.
    """
    (sh, sw), (h, w) = strides, size
    shifts = [
        x[:, i : i + sh * (h - 1) + 1 : sh, j : j + sw * (w - 1) + 1 : sw].reshape(-1, x.shape[-1])
        for i in range(window[0])
        for j in range(window[1])
    ]
    return jnp.concatenate(shifts, axis=-1)
