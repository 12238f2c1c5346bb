"""Mobile networks of inverted residual blocks: MobileNetV2 and EfficientNet-B0.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2; Tan & Le
2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", table 1.

Parameters and multiply-adds per image, at 224x224 with 1,000 classes:

    mobilenet_v2       3,504,872     0.30 G
    efficientnet_b0    5,288,548     0.39 G
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.models.blocks.inverted_residual import HE_NORMAL, Features, InvertedResidual, Mask
from imgrec_jax.models.blocks.norm import BatchNorm
from imgrec_jax.models.blocks.stochastic_depth import rising_rates


class Stage(NamedTuple):
    """A row of the papers' tables: equal blocks, of which the first may have stride 2."""

    expansion: int
    width: int
    size: int
    stride: int
    kernel: int = 3


class MobileNet(nn.Module):
    """A stride-2 convolution, stages of inverted residuals, a 1x1 convolution, a dense layer.

    Attributes:
        stages: of blocks.
        activation: after norms.
        num_classes: the number of logits; 0 gives the features before the last layer.
        stem, top: channels of the first convolution and of the last.
        squeeze: of squeeze-and-excitation in blocks; 0 for none.
        dropout: before the last layer.
        stochastic_depth: the rate of the last block; that of the first is 0.
        same: pad as TensorFlow, more below and right for stride 2; otherwise as PyTorch.
        epsilon: added to the variance in norms.
        remat: store only the input of each block for the gradient and recompute the rest.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: computation dtype; batch statistics are always float32.
        param_dtype: of the kernels; norms stay float32.
        conv: layer class; a faster equivalent may be passed.
    """

    stages: Sequence[Stage]
    activation: Callable[..., Array]
    num_classes: int = 1000
    stem: int = 32
    top: int = 1280
    squeeze: float = 0.0
    dropout: float = 0.2
    stochastic_depth: float = 0.0
    same: bool = False
    epsilon: float = 1e-5
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False, mask: Mask = None
    ) -> Float[Array, "n k"]:
        """Return logits. Rows with `mask` false do not contribute to batch statistics."""
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(self.conv, kernel_init=HE_NORMAL, **precision)
        norm = functools.partial(
            BatchNorm, epsilon=self.epsilon, axis_name=self.axis_name, dtype=self.dtype
        )
        padding = "SAME" if self.same else 1
        x = conv(self.stem, (3, 3), strides=2, padding=padding, use_bias=False, name="stem")(images)
        x = self.activation(norm(name="stem_norm")(x, train=train, mask=mask))
        x = self._blocks(x, train, mask, conv, norm)
        x = conv(self.top, (1, 1), use_bias=False, name="top")(x)
        x = self.activation(norm(name="top_norm")(x, train=train, mask=mask)).mean((1, 2))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        init = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=init, name="head", **precision)(x)

    def _blocks(self, x: Features, train: bool, mask: Mask, conv: Any, norm: Any) -> Features:
        block = nn.remat(InvertedResidual, static_argnums=(2,)) if self.remat else InvertedResidual
        rates = iter(rising_rates(self.stochastic_depth, sum(stage.size for stage in self.stages)))
        for number, stage in enumerate(self.stages, start=1):
            for place in range(stage.size):
                x = block(
                    width=stage.width,
                    expansion=stage.expansion,
                    kernel=stage.kernel,
                    stride=stage.stride if place == 0 else 1,
                    same=self.same,
                    squeeze=self.squeeze,
                    stochastic_depth=next(rates),
                    activation=self.activation,
                    conv=conv,
                    norm=norm,
                    name=f"stage{number}_block{place + 1}",
                )(x, train, mask)
        return x


mobilenet_v2 = functools.partial(
    MobileNet,
    activation=nn.relu6,
    stages=(
        Stage(1, 16, 1, 1),
        Stage(6, 24, 2, 2),
        Stage(6, 32, 3, 2),
        Stage(6, 64, 4, 2),
        Stage(6, 96, 3, 1),
        Stage(6, 160, 3, 2),
        Stage(6, 320, 1, 1),
    ),
)
efficientnet_b0 = functools.partial(
    MobileNet,
    activation=nn.silu,
    squeeze=0.25,
    stochastic_depth=0.2,
    stages=(
        Stage(1, 16, 1, 1),
        Stage(6, 24, 2, 2),
        Stage(6, 40, 2, 2, kernel=5),
        Stage(6, 80, 3, 2),
        Stage(6, 112, 3, 1, kernel=5),
        Stage(6, 192, 4, 2, kernel=5),
        Stage(6, 320, 1, 1),
    ),
)
