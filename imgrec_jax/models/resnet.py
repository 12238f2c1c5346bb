"""Residual networks: He et al. 2016, "Deep Residual Learning for Image Recognition".

This is the variant known as v1.5: a bottleneck has stride 2 in its 3x3 convolution, whereas the
paper has it in the preceding 1x1 (half a point of accuracy for 12 % more work). Padding is
symmetric, as in PyTorch, so that weights trained there fit.

Parameters and multiply-adds per image, at 224x224 with 1,000 classes:

    resnet18    11,689,512     1.81 G        resnet101    44,549,160     7.80 G
    resnet34    21,797,672     3.66 G        resnet152    60,192,808    11.51 G
    resnet50    25,557,032     4.09 G

Batch statistics (9,600 numbers in resnet18, 53,120 in resnet50) do not count as parameters.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import unknown
from imgrec_jax.core.ranges import DEPTH
from imgrec_jax.models.blocks.norm import BatchNorm

Mask = Bool[Array, " n"] | None
Features = Float[Array, "n _ _ _"]

STEMS = ("cifar", "imagenet")
HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""He et al. 2015, "Delving Deep into Rectifiers", eq. 14, as in torchvision."""
TORCH_UNIFORM = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform in ±1 / sqrt(fan_in), as in PyTorch's dense layers."""


def normalise(
    norm: Callable[..., Any], train: bool, mask: Mask, name: str, x: Features, **settings: Any
) -> Features:
    """Return x after a new norm of that name, created in the calling module."""
    return norm(name=name, **settings)(x, train=train, mask=mask)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut and `width` output channels."""

    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Features, train: bool, mask: Mask) -> Features:
        """Return relu(shortcut + branch); the branch begins as zero."""
        norm = functools.partial(normalise, self.norm, train, mask)
        y = self.conv(self.width, (3, 3), strides=self.stride, padding=1, name="conv1")(x)
        y = nn.relu(norm("norm1", y))
        y = self.conv(self.width, (3, 3), padding=1, name="conv2")(y)
        y = norm("norm2", y, scale_init=nn.initializers.zeros)
        if x.shape != y.shape:
            x = self.conv(self.width, (1, 1), strides=self.stride, padding=0, name="shortcut")(x)
            x = norm("shortcut_norm", x)
        return nn.relu(x + y)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 with a shortcut and four times `width` output channels."""

    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Features, train: bool, mask: Mask) -> Features:
        """Return relu(shortcut + branch); the branch begins as zero."""
        norm = functools.partial(normalise, self.norm, train, mask)
        out = 4 * self.width
        y = nn.relu(norm("norm1", self.conv(self.width, (1, 1), name="conv1")(x)))
        y = self.conv(self.width, (3, 3), strides=self.stride, padding=1, name="conv2")(y)
        y = nn.relu(norm("norm2", y))
        y = self.conv(out, (1, 1), name="conv3")(y)
        y = norm("norm3", y, scale_init=nn.initializers.zeros)
        if x.shape != y.shape:
            x = self.conv(out, (1, 1), strides=self.stride, padding=0, name="shortcut")(x)
            x = norm("shortcut_norm", x)
        return nn.relu(x + y)


class Stage(nn.Module):
    """A sequence of `size` blocks, the first of which changes width and resolution."""

    size: int
    block: Callable[..., Any]
    width: int
    stride: int
    conv: Callable[..., Any]
    norm: Callable[..., Any]

    @nn.compact
    def __call__(self, x: Features, train: bool, mask: Mask) -> Features:
        """Return the features of the last block."""
        for number in range(self.size):
            stride = self.stride if number == 0 else 1
            block = self.block(self.width, stride, self.conv, self.norm, name=f"block{number + 1}")
            x = block(x, train, mask)
        return x


class ResNet(nn.Module):
    """A stem, stages of residual blocks, global average pooling, and a dense layer.

    Attributes:
        stage_sizes: blocks of each stage; from the second stage on, each halves the resolution and
            doubles the width.
        block: BasicBlock or Bottleneck.
        num_classes: the number of logits; 0 gives the features before the last layer.
        width: channels of the stem and of the first stage's 3x3 convolutions.
        stem: "imagenet" is a 7x7 convolution and pooling, with total stride 4; "cifar" a 3x3
            convolution that keeps the resolution, for small images.
        remat: store only the input of each block for the gradient and recompute the rest: less
            memory, a third more work, the same numbers.
        features_only: return the features of all stages instead of logits, for detection and
            segmentation.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: computation dtype; batch statistics are always float32.
        param_dtype: of the kernels; norms stay float32.
        conv, max_pool: layer classes; faster equivalents may be passed.
    """

    stage_sizes: Annotated[Sequence[int], DEPTH]
    block: Callable[..., Any]
    num_classes: int = 1000
    width: int = 64
    stem: str = "imagenet"
    remat: bool = False
    features_only: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Mask = None,
    ) -> Float[Array, "n k"] | list[Features]:
        """Return logits, or with `features_only` the features from fine to coarse.

        Features are the output of the stem before its pooling, then of each stage: at 1/2, 1/4,
        1/8, 1/16 and 1/32 of the image, rounded up (with the CIFAR stem 1, 1, 1/2, 1/4 and 1/8).
        Rows with `mask` false do not contribute to batch statistics.
        """
        if self.stem not in STEMS:
            raise unknown("stem", self.stem, STEMS)
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(self.conv, use_bias=False, kernel_init=HE_NORMAL, **precision)
        norm = functools.partial(BatchNorm, axis_name=self.axis_name, dtype=self.dtype)
        block = nn.remat(self.block, static_argnums=(2,)) if self.remat else self.block

        if self.stem == "imagenet":
            x = conv(self.width, (7, 7), strides=2, padding=3, name="conv")(images)
        else:
            x = conv(self.width, (3, 3), padding=1, name="conv")(images)
        x = nn.relu(normalise(norm, train, mask, "norm", x))
        features = [x]
        if self.stem == "imagenet":
            x = self.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for number, size in enumerate(self.stage_sizes):
            width, stride = self.width * 2**number, 1 if number == 0 else 2
            x = Stage(size, block, width, stride, conv, norm, name=f"stage{number + 1}")(
                x, train, mask
            )
            features.append(x)
        if self.features_only:
            return features
        x = x.mean((1, 2))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        return nn.Dense(self.num_classes, kernel_init=TORCH_UNIFORM, name="head", **precision)(x)


resnet18 = functools.partial(ResNet, stage_sizes=(2, 2, 2, 2), block=BasicBlock)
resnet34 = functools.partial(ResNet, stage_sizes=(3, 4, 6, 3), block=BasicBlock)
resnet50 = functools.partial(ResNet, stage_sizes=(3, 4, 6, 3), block=Bottleneck)
resnet101 = functools.partial(ResNet, stage_sizes=(3, 4, 23, 3), block=Bottleneck)
resnet152 = functools.partial(ResNet, stage_sizes=(3, 8, 36, 3), block=Bottleneck)
