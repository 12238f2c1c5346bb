"""ConvNeXt: Liu et al. 2022, "A ConvNet for the 2020s".

Parameters and multiply-adds per image, at 224x224 with 1,000 classes:

    convnext_tiny     28,589,128     4.46 G
    convnext_small    50,223,688     8.68 G
    convnext_base     88,591,464    15.36 G
"""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import ABOVE_ZERO_TO_ONE, DEPTH, WIDTH
from imgrec_jax.models.blocks.stochastic_depth import StochasticDepth, rising_rates

Features = Float[Array, "n _ _ _"]

INIT = nn.initializers.normal(0.02)
"""For all kernels (appendix A.1); the authors truncate at ±2, a hundred standard deviations."""


class Block(nn.Module):
    """Residual block: 7x7 depthwise convolution and an MLP over channels, scaled (fig. 4)."""

    stochastic_depth: float
    layer_scale: float
    conv: Callable[..., Any]
    precision: Any

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Features:
        """Return x with the branch added."""
        channels = x.shape[-1]
        dense = functools.partial(nn.Dense, kernel_init=INIT, **self.precision)
        y = self.conv(channels, (7, 7), padding=3, feature_group_count=channels, name="depthwise")(
            x
        )
        y = nn.LayerNorm(epsilon=1e-6, name="norm", **self.precision)(y)
        y = nn.gelu(dense(4 * channels, name="expand")(y), approximate=False)
        y = dense(channels, name="project")(y)
        if self.layer_scale > 0:
            constant = nn.initializers.constant(self.layer_scale)
            gamma = self.param("gamma", constant, (channels,), self.precision["param_dtype"])
            y = y * gamma.astype(y.dtype).reshape(1, 1, 1, -1)
        return x + StochasticDepth(self.stochastic_depth)(y, train)


class Stage(nn.Module):
    """A sequence of blocks, after a norm and a 2x2 convolution of stride 2 if `halve`."""

    width: int
    rates: Sequence[float]
    halve: bool
    layer_scale: float
    remat: bool
    conv: Callable[..., Any]
    precision: Any

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Features:
        """Return the features of the last block."""
        if self.halve:
            x = nn.LayerNorm(epsilon=1e-6, name="norm", **self.precision)(x)
            x = self.conv(self.width, (2, 2), strides=2, padding="VALID", name="down")(x)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for number, rate in enumerate(self.rates, start=1):
            settings = (rate, self.layer_scale, self.conv, self.precision)
            x = block(*settings, name=f"block{number}")(x, train)
        return x


class ConvNeXt(nn.Module):
    """A stem of 4x4 patches, four stages, global average pooling, a norm and a dense layer.

    Attributes:
        stage_sizes: blocks of each stage.
        widths: channels of each stage.
        num_classes: the number of logits; 0 gives the features before the last layer.
        stochastic_depth: the rate of the last block; that of the first is 0.
        layer_scale: initial scale of each branch (Touvron et al. 2021, "Going deeper with Image
            Transformers"); 0 for none.
        epsilon: added to the variance in the last norm; the others use 1e-6.
        remat: store only the input of each block for the gradient and recompute the rest: less
            memory, a third more work, the same numbers.
        features_only: return the features of all stages instead of logits.
        dtype: computation dtype; norms sum in float32.
        param_dtype: of the parameters.
        conv: layer class; a faster equivalent may be passed.
    """

    stage_sizes: Annotated[Sequence[int], DEPTH]
    widths: Annotated[Sequence[int], WIDTH]
    num_classes: int = 1000
    stochastic_depth: float = 0.0
    layer_scale: Annotated[float, ABOVE_ZERO_TO_ONE] = 1e-6
    epsilon: Annotated[float, ABOVE_ZERO_TO_ONE] = 1e-6
    remat: bool = False
    features_only: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n k"] | list[Features]:
        """Return logits, or with `features_only` the output of each stage, from fine to coarse.

        Features are at 1/4, 1/8, 1/16 and 1/32 of the image. `mask` has no effect: no layer mixes
        rows.
        """
        del mask
        least = 4 * 2 ** (len(self.stage_sizes) - 1)
        if min(images.shape[1:3]) < least:
            raise UsageError(
                f"expected images of {least}x{least} or more, got {images.shape[1:3]}; "
                "try a larger --config.data.image_size"
            )
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(self.conv, kernel_init=INIT, **precision)
        x = conv(self.widths[0], (4, 4), strides=4, padding="VALID", name="stem")(images)
        x = nn.LayerNorm(epsilon=1e-6, name="stem_norm", **precision)(x)
        rates = rising_rates(self.stochastic_depth, sum(self.stage_sizes))
        features = []
        for number, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
            own, rates = tuple(rates[:size]), rates[size:]
            settings = (width, own, number > 0, self.layer_scale, self.remat, conv, precision)
            x = Stage(*settings, name=f"stage{number + 1}")(x, train)
            features.append(x)
        if self.features_only:
            return features
        x = nn.LayerNorm(epsilon=self.epsilon, name="norm", **precision)(x.mean((1, 2)))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        return nn.Dense(self.num_classes, kernel_init=INIT, name="head", **precision)(x)


convnext_tiny = functools.partial(ConvNeXt, stage_sizes=(3, 3, 9, 3), widths=(96, 192, 384, 768))
convnext_small = functools.partial(ConvNeXt, stage_sizes=(3, 3, 27, 3), widths=(96, 192, 384, 768))
convnext_base = functools.partial(ConvNeXt, stage_sizes=(3, 3, 27, 3), widths=(128, 256, 512, 1024))
