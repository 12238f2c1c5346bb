"""A small encoder of plain convolutions that can be trained from scratch on a CPU."""

from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import WIDTH, whole
from imgrec_jax.models.blocks.norm import BatchNorm

Features = Float[Array, "n h w c"]
Mask = Bool[Array, " n"]


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and ReLU."""

    features: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, x: Features, *, train: bool, mask: Mask | None = None
    ) -> Float[Array, "n i j d"]:
        x = self.conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            kernel_dilation=self.dilation,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.he_normal(),
            name="conv",
        )(x)
        norm = BatchNorm(axis_name=self.axis_name, dtype=self.dtype, name="norm")
        return nn.relu(norm(x, train=train, mask=mask))


class PlainEncoder(nn.Module):
    """Stages of two convolutions each, with pooling between: the contracting path of U-Net.

    Attributes:
        width: channels of the first stage; each further one has twice as many.
        depth: number of stages; the last has 1 / 2^(depth - 1) of the first one's resolution.
        stride: of the first convolution; 2 makes the encoder four times cheaper.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: computation dtype; parameters stay float32.
        conv, max_pool: layer classes; faster equivalents may be passed.
    """

    width: Annotated[int, WIDTH] = 32
    depth: Annotated[int, whole(1, 20)] = 5
    stride: Annotated[int, whole(1, 64)] = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self, images: Features, *, train: bool = False, mask: Mask | None = None
    ) -> list[Array]:
        """Return the features of each stage, from fine to coarse."""
        total = self.stride * 2 ** (self.depth - 1)
        if min(images.shape[1:3]) < total:
            raise UsageError(
                f"expected images of {total}x{total} or more for {self.depth} stages, got "
                f"{images.shape[1]}x{images.shape[2]}; try a smaller depth"
            )
        layer = {"axis_name": self.axis_name, "dtype": self.dtype, "conv": self.conv}
        x, features = images, []
        for stage in range(self.depth):
            channels = self.width * 2**stage
            if stage:
                x = self.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")  # rounds up
            for number in (1, 2):
                stride = self.stride if stage == 0 and number == 1 else 1
                name = f"stage{stage + 1}_conv{number}"
                x = ConvNorm(channels, stride=stride, name=name, **layer)(x, train=train, mask=mask)
            features.append(x)
        return features
