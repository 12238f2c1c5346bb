"""Luma and colour differences of images in 0 .. 1: ITU-R BT.601 with its narrow range."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from imgrec_jax.ops.image_quality import luma

CHANNELS = {"y": 1, "rgb": 3}
"""How many channels a network has, by the setting `channels`."""

_CHROMA = np.array([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float64) / 255
_LUMA = np.array([[65.481, 128.553, 24.966]], np.float64) / 255
_TO_RGB = np.linalg.inv(np.concatenate([_LUMA, _CHROMA])).astype(np.float32)


def luma_of(
    images: Float[Array, "n h w 3"], grey: Bool[Array, " n"] | None = None
) -> Float[Array, "n h w"]:
    """Return the luma of images in 0 .. 255; images that are `grey` are luma themselves."""
    y = luma(images)
    return y if grey is None else jnp.where(grey[:, None, None], images[..., 0], y)


def network_channels(
    images: Float[Array, "n h w 3"], channels: str, grey: Bool[Array, " n"] | None = None
) -> Float[Array, "n h w c"]:
    """Return what a network sees: luma / 255, or the image itself."""
    return luma_of(255.0 * images, grey)[..., None] / 255.0 if channels == "y" else images


def with_luma(
    images: Float[Array, "n h w 3"],
    y: Float[Array, "n h w"],
    grey: Bool[Array, " n"] | None = None,
) -> Float[Array, "n h w 3"]:
    """Return images with another luma (divided by 255) and their own colour differences."""
    chroma = jnp.matmul(255.0 * images, _CHROMA.T.astype(np.float32), precision="highest")
    parts = jnp.concatenate([255.0 * y[..., None] - 16.0, chroma], axis=-1)
    coloured = jnp.matmul(parts, _TO_RGB.T, precision="highest") / 255.0
    return (
        coloured if grey is None else jnp.where(grey[:, None, None, None], y[..., None], coloured)
    )
