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
    """Expand by 1x1 convolution, filter depthwise, project back (Sandler et al. 2018, 3.3).

    Attributes:
        width: output channels.
        expansion: factor for the inner channels; 1 omits the first convolution.
        kernel: side of the depthwise convolution.
        stride: of the depthwise convolution.
        same: pad as TensorFlow, more below and right for stride 2; otherwise as PyTorch.
        squeeze: channels between the two layers of squeeze-and-excitation (Hu et al. 2018), as a
            fraction of the input channels; 0 for none.
        stochastic_depth: the rate at which the branch is dropped.
        activation: after all norms but the last.
        conv, norm: layer classes.
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
        """Return the projected output, plus x if the shapes match."""
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
