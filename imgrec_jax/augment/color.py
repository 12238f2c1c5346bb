"""Augmentations of colours and pixel values; see `augmentation` for samples."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from imgrec_jax.augment import pixel_ops
from imgrec_jax.augment.augmentation import Augmentation, Image, per_image
from imgrec_jax.core.barriers import materialize
from imgrec_jax.core.ranges import FRACTION, Range

STRENGTH = Range(float, 0, 100)
HUE = Range(float, 0, 0.5)
SIGMA = Range(float, 0, 30)
"""Of a kernel in pixels, which is compiled tap by tap."""
_COLOUR_JITTERS = (pixel_ops.contrast, pixel_ops.saturation, pixel_ops.turn_hue)


def noise(std: Annotated[float, FRACTION] = 0.02) -> Augmentation:
    """Add Gaussian noise of the given standard deviation (pixels run 0 .. 1) and clip.

    (Sietsma & Dow 1991, "Creating Artificial Neural Networks That Generalize".)
    """

    def add(key: Key[Array, ""], image: Image) -> Image:
        return jnp.clip(image + std * _normal(key, image), 0.0, 1.0)

    return per_image(add)


def _normal(key: Key[Array, ""], image: Image) -> Image:
    """Return Gaussian numbers up to 4.3 deviations, from 16 random bits each.

    Random bits take most of the time: these are half as many as `jax.random.normal` takes.
    """
    pairs = jax.random.bits(key, (-(-image.size // 2),), jnp.uint32)
    bits = jnp.concatenate([pairs >> 16, pairs & 0xFFFF])[: image.size]
    even = (bits.astype(image.dtype) + 0.5) / 2.0**15 - 1.0
    return math.sqrt(2) * jax.lax.erf_inv(even).reshape(image.shape)


def color_jitter(
    brightness: Annotated[float, STRENGTH] = 0.4,
    contrast: Annotated[float, STRENGTH] = 0.4,
    saturation: Annotated[float, STRENGTH] = 0.4,
    hue: Annotated[float, HUE] = 0.1,
) -> Augmentation:
    """Change brightness, contrast, saturation and hue, in this order.

    The first three by factors uniform in 1 - x .. 1 + x (not below 0), the hue by a fraction of
    the colour circle uniform in -hue .. hue (Howard 2013, "Some Improvements on Deep
    Convolutional Neural Network Based Image Classification", section 2; half the strengths of
    Chen et al. 2020, "A Simple Framework for Contrastive Learning", appendix A, which applies
    them in random order).
    """
    strengths = brightness, contrast, saturation
    low = np.array([*(max(0.0, 1.0 - x) for x in strengths), -hue], np.float32)
    high = np.array([*(1.0 + x for x in strengths), hue], np.float32)

    def jitter(key: Key[Array, ""], image: Image) -> Image:
        light, *amounts = jax.random.uniform(key, (4,), jnp.float32, low, high)
        planes = pixel_ops.brightness(jnp.moveaxis(image, -1, 0), light)
        for change, amount in zip(_COLOUR_JITTERS, amounts, strict=True):
            planes = change(materialize(planes), amount, axis=0)
        return jnp.moveaxis(planes, 0, -1)

    return per_image(jitter)


def grayscale(probability: Annotated[float, FRACTION] = 0.1) -> Augmentation:
    """Convert to grey (Chen et al. 2020, "A Simple Framework for Contrastive Learning").

    The number of channels stays; each holds the luminance of ITU-R 601-2.
    """

    def fade(key: Key[Array, ""], image: Image) -> Image:
        image = materialize(image)
        grey = jnp.broadcast_to(pixel_ops.luminance(image)[..., None], image.shape)
        return jnp.where(jax.random.bernoulli(key, probability), grey, image)

    return per_image(fade)


def blur(
    sigma: Annotated[float, SIGMA] = 2.0, probability: Annotated[float, FRACTION] = 0.5
) -> Augmentation:
    """Blur by a Gaussian whose sigma in pixels is uniform in 0.1 .. sigma, reflected at the edges.

    (Chen et al. 2020, "A Simple Framework for Contrastive Learning", appendix A, for images
    of 224 pixels: smaller ones need a smaller sigma.) The kernel ends at 3 sigma.
    """
    reach = math.ceil(3 * sigma)
    places = jnp.arange(-reach, reach + 1, dtype=jnp.float32)

    def soften(key: Key[Array, ""], image: Image) -> Image:
        coin_key, width_key = jax.random.split(key)
        width = jax.random.uniform(width_key, (), jnp.float32, min(0.1, sigma), sigma)
        kernel = jnp.exp(-0.5 * (places / width) ** 2)
        kernel = kernel / kernel.sum()
        soft = image
        for axis in (0, 1):
            pads = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
            padded = jnp.pad(materialize(soft), pads, mode="reflect")
            # Shifts and sums: a convolution with a kernel per image is very slow on CPU.
            parts = [
                kernel[k] * jax.lax.slice_in_dim(padded, k, k + image.shape[axis], axis=axis)
                for k in range(2 * reach + 1)
            ]
            soft = sum(parts[1:], parts[0])
        chosen = jax.random.bernoulli(coin_key, probability)
        return jnp.where(chosen, jnp.clip(soft, 0.0, 1.0), image)

    return per_image(soften) if sigma > 0 else per_image(lambda key, image: image)
