"""Wide residual networks for small images: Zagoruyko & Komodakis 2016, "Wide Residual Networks".

Blocks are pre-activation (He et al. 2016, "Identity Mappings in Deep Residual Networks").
Parameters and multiply-adds per image, at 32x32 with 10 classes:

    wrn16_8     10,961,370    1.55 G         wrn28_10    36,479,194    5.24 G
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.models.blocks.norm import BatchNorm
from imgrec_jax.models.resnet import HE_NORMAL, TORCH_UNIFORM, Features, Mask, Stage, normalise

_STAGES = 3
_STEM_WIDTH = 16


class PreActivation(nn.Module):
    """Norm, ReLU and a 3x3 convolution, twice, with a shortcut; `width` output channels.

    If the shape changes, the shortcut is a 1x1 convolution of the output of the first norm and
    ReLU. `dropout` is between the two convolutions (figure 1d of the paper).
    """

    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Features, train: bool, mask: Mask) -> Features:
        """Return shortcut + branch."""
        norm = functools.partial(normalise, self.norm, train, mask)
        active = nn.relu(norm("norm1", x))
        y = self.conv(self.width, (3, 3), strides=self.stride, padding=1, name="conv1")(active)
        if x.shape != y.shape:
            x = self.conv(self.width, (1, 1), strides=self.stride, padding=0, name="shortcut")(
                active
            )
        y = nn.relu(norm("norm2", y))
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return x + self.conv(self.width, (3, 3), padding=1, name="conv2")(y)


class WideResNet(nn.Module):
    """A 3x3 stem, three stages of pre-activation blocks, global average pooling, a dense layer.

    Attributes:
        blocks: per stage: (depth - 4) / 6 in the names of the paper.
        width: channels of the first stage, 16 times the widening factor; each further stage has
            twice as many, at half the resolution.
        num_classes: the number of logits; 0 gives the features before the last layer.
        dropout: rate within a block, in training.
        remat, features_only, axis_name, dtype, param_dtype, conv: as in `resnet.ResNet`.
    """

    blocks: int
    width: int
    num_classes: int = 10
    dropout: float = 0.0
    remat: bool = False
    features_only: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Mask = None,
    ) -> Float[Array, "n k"] | list[Features]:
        """Return logits, or with `features_only` the features from fine to coarse.

        Features are the outputs of the stem and of each stage: at 1, 1, 1/2 and 1/4 of the image,
        rounded up; only the last is normalised.
        """
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(self.conv, use_bias=False, kernel_init=HE_NORMAL, **precision)
        norm = functools.partial(BatchNorm, axis_name=self.axis_name, dtype=self.dtype)
        block: Any = nn.remat(PreActivation, static_argnums=(2,)) if self.remat else PreActivation
        block = functools.partial(block, dropout=self.dropout)

        x = conv(_STEM_WIDTH, (3, 3), padding=1, name="conv")(images)
        features = [x]
        for number in range(_STAGES):
            width, stride = self.width * 2**number, 1 if number == 0 else 2
            stage = Stage(self.blocks, block, width, stride, conv, norm, name=f"stage{number + 1}")
            x = stage(x, train, mask)
            features.append(x)
        x = nn.relu(normalise(norm, train, mask, "norm", x))
        if self.features_only:
            return [*features[:-1], x]
        x = x.mean((1, 2))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        return nn.Dense(self.num_classes, kernel_init=TORCH_UNIFORM, name="head", **precision)(x)


wrn16_8 = functools.partial(WideResNet, blocks=2, width=128)
wrn28_10 = functools.partial(WideResNet, blocks=4, width=160)
