"""Convolution in forms that are quick on CPU, with the signature of `lax`.

Three costs of training, measured on two cores (batch 32, 3x3 kernels, float32):
- forward with 3 input channels: 1.7 ms through lax, 0.5 ms as patches and one matmul;
- weight gradient, 32 to 64 channels: 2.9 ms through lax, 1.6 ms as patches and matmuls;
- input gradient, and forward with many channels: lax is the quickest, so it stays.

Inside `lax.scan` the weight gradient through lax takes a second; these forms keep their speed.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

_NHWC = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 8  # below this lax cannot fill its vectors
# Beyond this many bytes of patches, one matmul per place of the kernel (lax in the forward
# pass): buffers above the 32 MiB up to which glibc keeps freed memory are faulted in anew at
# each step, which costs more than the one matmul gains.
_MOST_PATCHES = 16 << 20

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

    Made for `nn.Conv(conv_general_dilated=...)`. Pictures [n, h, w, c] with kernels
    [i, j, c, d] and no dilation or groups take the fast form on CPU, everything else and
    every other platform takes lax. The fast form has a custom VJP: no forward-mode
    differentiation (`config.ops = "plain"` is the way back).
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
    # Without a gradient lax is the quickest: XLA makes one loop of convolution, ReLU and pooling.
    return _vmapped_in_front(_lax(strides, pads, precision)(x, kernel))


def _forward(
    strides: _Pair, pads: _Pads, precision: Any, x: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    plain = _lax(strides, pads, precision)
    size = jax.eval_shape(plain, x, kernel).shape[1:3]
    if x.shape[-1] >= _FEW_CHANNELS or not _patches_fit(x, kernel, size):
        return _vmapped_in_front(plain(x, kernel)), (x, kernel)
    # The same patches serve the weight gradient: XLA computes them once.
    patches = jnp.concatenate(_shifts(strides, pads, kernel.shape[:2], size, x), axis=-1)
    y = jnp.matmul(patches, kernel.reshape(-1, kernel.shape[-1]), precision=precision)
    return y.reshape(len(x), *size, -1), (x, kernel)


def _backward(
    strides: _Pair, pads: _Pads, precision: Any, residuals: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    plain, size = _lax(strides, pads, precision), dy.shape[1:3]
    (dx,) = jax.linear_transpose(lambda x: plain(x, kernel), x)(dy)
    shifts = _shifts(strides, pads, kernel.shape[:2], size, x)
    if _patches_fit(x, kernel, size):
        shifts = [jnp.concatenate(shifts, axis=-1)]
    rows = dy.reshape(-1, dy.shape[-1])
    dkernel = [jnp.matmul(shift.T, rows, precision=precision) for shift in shifts]
    return dx, jnp.concatenate(dkernel).reshape(kernel.shape)


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
    """Return y as it is; but under vmap with the mapped axis in front, as the matmul has it.

    A custom VJP inside `platform_dependent` must leave that axis at one place in both of its
    forms: JAX 0.10 and 0.12 take it from one of them. Reshaping moves it; XLA takes it out again.
    """
    return y.reshape(-1, y.shape[-1]).reshape(y.shape)


def _patches_fit(x: Array, kernel: Array, size: _Pair) -> bool:
    rows, columns = len(x) * math.prod(size), math.prod(kernel.shape[:3])
    return 0 < rows * columns * x.dtype.itemsize <= _MOST_PATCHES


def _shifts(strides: _Pair, pads: _Pads, window: _Pair, size: _Pair, x: Array) -> list[Array]:
    """Return, for each place [i, j] of the kernel, the pixels [n*h*w, c] that it meets.

    Side by side they are the patches [n*h*w, i*j*c], in the order of a kernel [i, j, c, d].
    """
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (sh, sw), (h, w) = strides, size
    return [
        x[:, i : i + sh * (h - 1) + 1 : sh, j : j + sw * (w - 1) + 1 : sw].reshape(-1, x.shape[-1])
        for i in range(window[0])
        for j in range(window[1])
    ]
