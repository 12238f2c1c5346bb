"""Inverted residual block of MobileNetV2 and EfficientNet."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.models.blocks.stochastic_depth import StochasticDepth

Mask = Bool[Array, " n"] | None
Features = Float[Array, "n _ _ _"]

HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al. 2015, "Delving Deep into Rectifiers", eq. 14."""


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, squeeze back (Sandler et al. 2018, 3.3).

    Attributes:
        width: channels out.
        expansion: of the channels inside; 1 has no first convolution.
        kernel: side of the depthwise convolution.
        stride: of the depthwise convolution.
        same: its padding is TensorFlow's, more below and right where it halves; else as torch's.
        squeeze: channels between the two layers of squeeze-and-excitation (Hu et al. 2018), as a
            part of those coming in; 0 has none.
        stochastic_depth: the rate at which the branch is left out.
        activation: behind all norms but the last.
        conv, norm: the layers to build from.
    """

    width: int
    expansion: int
    kernel: int
    stride: int
    same: bool
    squeeze: float
    stochastic_depth: float
    activation: Callable[..., Array]
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Features, train: bool, mask: Mask) -> Features:
        """Return the narrow output, x added where the shapes agree."""
        inside, y = x.shape[-1] * self.expansion, x
        if self.expansion > 1:
            y = self.conv(inside, (1, 1), use_bias=False, name="expand")(y)
            y = self.activation(self.norm(name="expand_norm")(y, train=train, mask=mask))
        y = self.conv(
            inside,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding="SAME" if self.same else self.kernel // 2,
            feature_group_count=inside,
            use_bias=False,
            name="depthwise",
        )(y)
        y = self.activation(self.norm(name="depthwise_norm")(y, train=train, mask=mask))
        if self.squeeze:
            conv = functools.partial(self.conv, kernel_size=(1, 1))
            gate = y.mean((1, 2), keepdims=True)
            gate = conv(max(1, int(x.shape[-1] * self.squeeze)), name="squeeze")(gate)
            gate = nn.sigmoid(conv(inside, name="excite")(self.activation(gate)))
            y = y * jnp.broadcast_to(gate, y.shape)
        y = self.conv(self.width, (1, 1), use_bias=False, name="project")(y)
        y = self.norm(name="project_norm")(y, train=train, mask=mask)
        return x + StochasticDepth(self.stochastic_depth)(y, train) if x.shape == y.shape else y
