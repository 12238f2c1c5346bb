"""U-Net: segmentation with an encoder, a decoder and skip connections."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.models.blocks.plain_encoder import ConvNorm, Features, Mask, PlainEncoder


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with padding, BatchNorm and any encoder.

    From the coarsest features on, each step upsamples (linearly), concatenates the next finer
    features and applies two convolutions with that stage's channels. If the encoder does not keep
    the full resolution, logits are upsampled linearly to the image's size.

    Attributes:
        num_classes: the number of logits of each pixel; 0 gives the features before the last layer.
        encoder: module that returns a list of features from fine to coarse, called as
            `encoder(images, train=..., mask=...)`.
        axis_name: the mapped axis over which BatchNorm's statistics are added, or None.
        dtype: computation dtype; parameters stay float32.
        conv, max_pool: layer classes; faster equivalents may be passed.
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
    """Return features [n, h, w, c] resized to (height, width) by linear interpolation."""
    if x.shape[1:3] == size:
        return x
    return jax.image.resize(x, (len(x), *size, x.shape[-1]), "linear")
