"""Enlarge features by rearranging channels into pixels."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Features = Float[Array, "n h w c"]


def pixel_shuffle(x: Features, scale: int) -> Float[Array, "n i j k"]:
    """Return [n, h * scale, w * scale, c] from [n, h, w, c * scale²] (Shi et al. 2016).

    Channel c * scale² + i * scale + j of a pixel becomes channel c of the pixel (i, j) in its
    square, the order of torch.nn.PixelShuffle.
    """
    n, h, w, channels = x.shape
    x = x.reshape(n, h, w, channels // scale**2, scale, scale)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * scale, w * scale, -1)


class SubpixelTranspose(nn.Module):
    """A transposed convolution with SAME padding, computed as a convolution and a pixel shuffle.

    Equal to `nn.ConvTranspose(features, (size, size), strides=scale)` with the same parameters,
    without multiplying the zeros between the pixels.

    Attributes:
        features: number of output channels.
        size: side of the kernel, larger than `scale`.
        scale: the stride.
        dtype: computation dtype; parameters stay float32.
        conv: the class of convolution whose function is used.
    """

    features: int
    size: int
    scale: int
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(self, x: Features) -> Float[Array, "n i j k"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1e-3), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        by_phase = _by_phase(kernel, self.scale)
        layer = self.conv(
            self.features * self.scale**2,
            by_phase.shape[:2],
            use_bias=False,
            dtype=self.dtype,
            parent=None,
        )
        y = layer.apply({"params": {"kernel": by_phase}}, x)
        return pixel_shuffle(y, self.scale) + bias.astype(self.dtype).reshape(1, 1, 1, -1)


def _by_phase(kernel: Float[Array, "k k c f"], scale: int) -> Float[Array, "t t c fss"]:
    """Return the kernel of the convolution whose shuffled output is the transposed convolution.

    With a padding of `before`, output pixel scale * y + i is the sum over t of input y + t times
    tap scale * t - i + before: a small kernel of its own for each phase i.
    """
    size, inputs = kernel.shape[0], kernel.shape[2]
    before = -(-(size + scale - 2) // 2)  # as XLA pads, where the stride is below the size
    reach = max(before // scale, (size - 2 - before + scale) // scale)
    offsets, phases = np.arange(-reach, reach + 1)[:, None], np.arange(scale)[None]
    taps = scale * offsets - phases + before
    taps = np.where((taps >= 0) & (taps < size), taps, size)  # the tap past the last is zero
    padded = jnp.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    by_phase = padded[taps[:, None, :, None], taps[None, :, None, :]]  # [t, t, i, j, c, f]
    return by_phase.transpose(0, 1, 4, 5, 2, 3).reshape(*by_phase.shape[:2], inputs, -1)
