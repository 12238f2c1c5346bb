"""U-Net: segmentation with an encoder, a decoder and skip connections."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.models.blocks.plain_encoder import ConvNorm, Features, Mask, PlainEncoder


class UNet(nn.Module):
    """A class per pixel (Ronneberger et al. 2015, "U-Net"); padded, with BatchNorm, any encoder.

    From the coarsest features on, each step enlarges (linearly), joins the next finer features
    and works on both with two convolutions of that stage's channels. Logits of an encoder that
    does not keep the full resolution are enlarged linearly to the image's size.

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
