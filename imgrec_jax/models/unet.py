"""U-Net: an encoder to coarse features, and a decoder back through all finer ones."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.norm import BatchNorm

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
    """Stages of two convolutions each, with a pooling between: the left side of the U.

    Attributes:
        width: channels of the first stage; each further one has twice as many.
        stages: how many; the last works at 1 / 2^(stages - 1) of the first one's resolution.
        stride: of the first convolution; 2 makes all of it four times cheaper.
        axis_name, dtype, conv, max_pool: as `UNet` has them.
    """

    width: int = 32
    stages: int = 5
    stride: int = 1
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self, images: Features, *, train: bool = False, mask: Mask | None = None
    ) -> list[Array]:
        """Return the features of each stage, from fine to coarse."""
        total = self.stride * 2 ** (self.stages - 1)
        if min(images.shape[1:3]) < total:
            raise UsageError(
                f"expected pictures of {total}x{total} or more for {self.stages} stages, got "
                f"{images.shape[1]}x{images.shape[2]}; try fewer stages"
            )
        layer = {"axis_name": self.axis_name, "dtype": self.dtype, "conv": self.conv}
        x, features = images, []
        for stage in range(self.stages):
            channels = self.width * 2**stage
            if stage:
                x = self.max_pool(x, (2, 2), strides=(2, 2))
            for number in (1, 2):
                stride = self.stride if stage == 0 and number == 1 else 1
                name = f"stage{stage + 1}_conv{number}"
                x = ConvNorm(channels, stride=stride, name=name, **layer)(x, train=train, mask=mask)
            features.append(x)
        return features


class UNet(nn.Module):
    """A class per pixel (Ronneberger et al. 2015, "U-Net"); padded, with BatchNorm, any encoder.

    From the coarsest features on, each step enlarges (linearly), joins the next finer features
    and works on both with two convolutions of that stage's channels. Logits of an encoder that
    does not keep the full resolution are enlarged linearly to the picture's size.

    Attributes:
        num_classes: the number of logits of each pixel; 0 gives the features before the last layer.
        encoder: module that returns a list of features from fine to coarse, called as
            `encoder(images, train=..., mask=...)`.
        axis_name: the mapped axis over which BatchNorm's statistics are added, or None.
        dtype: what is computed in; parameters stay float32.
        conv, max_pool: the layers to build from; faster equals may be passed in.
    """

    num_classes: int = 2
    encoder: nn.Module = PlainEncoder()
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self, images: Features, *, train: bool = False, mask: Mask | None = None
    ) -> Float[Array, "n i j k"]:
        """Return logits of each pixel; BatchNorm uses `train` and `mask`."""
        layer = {"axis_name": self.axis_name, "dtype": self.dtype, "conv": self.conv}
        *finer, x = self.encoder(images, train=train, mask=mask)  # pyright: ignore[reportCallIssue]
        for step, skip in enumerate(reversed(finer), start=1):
            x = jnp.concatenate([resize(x, skip.shape[1:3]), skip], axis=-1)
            for number in (1, 2):
                name = f"up{step}_conv{number}"
                x = ConvNorm(skip.shape[-1], name=name, **layer)(x, train=train, mask=mask)
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        logits = self.conv(self.num_classes, (1, 1), dtype=self.dtype, name="head")(x)
        return resize(logits, images.shape[1:3])


def resize(x: Features, size: tuple[int, ...]) -> Float[Array, "n i j c"]:
    """Return features [n, h, w, c] brought to (height, width), linearly."""
    if x.shape[1:3] == size:
        return x
    return jax.image.resize(x, (len(x), *size, x.shape[-1]), "linear")
