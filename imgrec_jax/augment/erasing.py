"""Augmentations that cover a part of the image; labels and boxes stay unchanged."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from imgrec_jax.augment.augmentation import Augmentation, Image, per_image
from imgrec_jax.augment.random_window import check_window, draw_window
from imgrec_jax.core.ranges import ABOVE_ZERO_TO_ONE, ASPECT, FRACTION, SIDE

_GREY = 0.5


def cutout(size: Annotated[int, SIDE] = 8, inside: bool = False) -> Augmentation:
    """Cover a square of `size` pixels with mid grey, with its centre anywhere in the image.

    The square may extend beyond the edge (DeVries & Taylor 2017, "Improved Regularization of
    Convolutional Neural Networks with Cutout", section 3.2; 16 pixels on CIFAR-10, 8 on
    CIFAR-100; they use the mean colour). With `inside` the whole square lies in the image.
    """

    def cover(key: Key[Array, ""], image: Image) -> Image:
        height, width = image.shape[:2]
        if inside:
            room = np.maximum(np.array([height, width]) - size, 0) + 1
            start = jax.random.randint(key, (2,), 0, room)
        else:
            centre = jax.random.randint(key, (2,), 0, np.array([height, width]))
            start = centre - size // 2
        rows = _between(height, start[0], start[0] + size)
        columns = _between(width, start[1], start[1] + size)
        return jnp.where((rows[:, None] & columns[None, :])[..., None], _GREY, image)

    return per_image(cover)


def random_erasing(
    probability: Annotated[float, FRACTION] = 0.5,
    low: Annotated[float, ABOVE_ZERO_TO_ONE] = 0.02,
    high: Annotated[float, ABOVE_ZERO_TO_ONE] = 0.4,
    aspect: Annotated[float, ASPECT] = 10 / 3,
) -> Augmentation:
    """Cover a window with noise, uniform in 0 .. 1 in each value.

    The window's area is uniform in low .. high and its aspect log-uniform in 1 / aspect .. aspect,
    relative to the image's own (Zhong et al. 2017, "Random Erasing Data Augmentation",
    section 3.2, RE-R; there the aspect is uniform).
    """
    check_window("random_erasing", low, high)

    def erase(key: Key[Array, ""], image: Image) -> Image:
        height, width = image.shape[:2]
        coin_key, window_key, noise_key = jax.random.split(key, 3)
        top, left, part_h, part_w = draw_window(window_key, low, high, aspect)
        edges = jnp.stack([top, top + part_h]) * height, jnp.stack([left, left + part_w]) * width
        (y0, y1), (x0, x1) = (jnp.round(edge).astype(jnp.int32) for edge in edges)
        hit = _between(height, y0, y1)[:, None] & _between(width, x0, x1)[None, :]
        hit = hit & jax.random.bernoulli(coin_key, probability)
        return jnp.where(hit[..., None], _bytes(noise_key, image.shape), image)

    return per_image(erase)


def _bytes(key: Key[Array, ""], shape: tuple[int, ...]) -> Image:
    """Return multiples of 1/255, uniform in 0 .. 1, four from each random word."""
    count = math.prod(shape)
    words = jax.random.bits(key, (-(-count // 4),))
    drawn = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:count]
    return drawn.reshape(shape).astype(jnp.float32) / 255.0


def _between(size: int, start: Int[Array, ""], end: Int[Array, ""]) -> Bool[Array, " size"]:
    places = jnp.arange(size)
    return (places >= start) & (places < end)
