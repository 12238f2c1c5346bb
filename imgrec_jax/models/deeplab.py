"""DeepLabV3+: segmentation with dilated convolutions at several rates and fine features."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.models.blocks.plain_encoder import ConvNorm, Features, Mask, PlainEncoder
from imgrec_jax.models.unet import resize


class DeepLab(nn.Module):
    """Segmentation (Chen et al. 2018, "Encoder-Decoder with Atrous Separable Convolution").

    The head of DeepLabV3+ on any encoder, with full convolutions instead of separable ones. It
    works at the resolution of the encoder's second features; logits are upsampled linearly.

    Attributes:
        num_classes: the number of logits of each pixel; 0 gives the features before the last layer.
        encoder: module that returns a list of two or more features from fine to coarse, called
            as `encoder(images, train=..., mask=...)`.
        width: channels of each branch of the head; 256 in the paper.
        rates: dilations of its 3x3 branches; 6, 12, 18 are for features at 1/16.
        reduced: channels to which the fine features are projected.
        axis_name, dtype, conv, max_pool: as in `UNet`.
    """

    num_classes: int = 2
    encoder: nn.Module = PlainEncoder()
    width: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    reduced: int = 48
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self, images: Features, *, train: bool = False, mask: Mask | None = None
    ) -> Float[Array, "n i j k"]:
        """Return logits of each pixel; BatchNorm uses `train` and `mask`."""

        def layer(x: Features, kernel: int, name: str, **more: Any) -> Array:
            features = more.pop("features", self.width)
            module = ConvNorm(
                features, kernel, axis_name=self.axis_name, dtype=self.dtype, conv=self.conv,
                name=name, **more,
            )  # fmt: skip
            return module(x, train=train, mask=mask)

        features = self.encoder(images, train=train, mask=mask)  # pyright: ignore[reportCallIssue]
        fine, coarse = features[min(1, len(features) - 2)], features[-1]
        branches = [layer(coarse, 1, "aspp_1x1")]
        branches += [layer(coarse, 3, f"aspp_rate{rate}", dilation=rate) for rate in self.rates]
        pooled = layer(coarse.mean((1, 2), keepdims=True), 1, "aspp_pooled")
        branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = layer(jnp.concatenate(branches, axis=-1), 1, "aspp_joined")
        low = layer(fine, 1, "fine", features=self.reduced)
        x = jnp.concatenate([resize(x, low.shape[1:3]), low], axis=-1)
        x = layer(layer(x, 3, "decoder1"), 3, "decoder2")
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        logits = self.conv(self.num_classes, (1, 1), dtype=self.dtype, name="head")(x)
        return resize(logits, images.shape[1:3])
