"""Tiled inference on images of any size."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from imgrec_jax.config import Config
from imgrec_jax.core.task import PyTree
from imgrec_jax.data.images.bit_depth import opencv
from imgrec_jax.data.images.resize import stretch
from imgrec_jax.ops.tiling import blend_tiles


def look_at_pixels(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    shape: tuple[int, int, int],
    config: Config,
) -> np.ndarray:
    """Return the probabilities of each pixel of an image, float32[h, w, k].

    The image is scaled as in training: resized to `data.image_shape` if that was set; if squares
    were cropped to `data.image_size`, its shorter side is resized to that; otherwise it keeps its
    size. An image larger than the run's images is predicted in overlapping tiles of their size.
    """
    size = image.shape[:2]
    scaled = image
    if config.data.image_shape:
        scaled = stretch(image, shape[:2])
    elif config.data.image_size:
        factor = config.data.image_size / min(size)
        scaled = stretch(image, (round(size[0] * factor), round(size[1] * factor)))
    probabilities = blend_tiles(predict, scaled, shape[:2])
    if scaled.shape[:2] == size:
        return probabilities
    height, width = size
    cv2 = opencv()
    planes = [cv2.resize(plane, (width, height)) for plane in np.moveaxis(probabilities, -1, 0)]
    return np.stack(planes, axis=-1)


def look_at_boxes(
    predict: Callable[[np.ndarray], PyTree],
    image: np.ndarray,
    shape: tuple[int, int, int],
    config: Config,
) -> PyTree:
    """Return the boxes of an image of any size, which is resized as in training."""
    del config
    height, width = shape[:2]
    answer = {name: value[0] for name, value in predict(stretch(image, shape[:2])[None]).items()}
    back = np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
    return {**answer, "boxes": answer["boxes"] * back}


def look_enlarged(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    shape: tuple[int, int, int],
    config: Config,
) -> np.ndarray:
    """Return an image enlarged by the network, float32[h * scale, w * scale, 3] in 0 .. 1.

    A large image is enlarged in tiles that overlap by more than what an output pixel depends on,
    so that the result is that of the whole image.
    """
    del shape
    scale = config.task.super_resolution.scale
    height, width, channels = image.shape
    enlarged = np.empty((height * scale, width * scale, channels), np.float32)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            first, start = max(top - _OVERLAP, 0), max(left - _OVERLAP, 0)
            bottom, right = min(top + _TILE, height), min(left + _TILE, width)
            around = image[first : bottom + _OVERLAP, start : right + _OVERLAP]
            part = predict(around[None])[0]
            down, across = scale * (top - first), scale * (left - start)
            tall, wide = scale * (bottom - top), scale * (right - left)
            enlarged[scale * top : scale * bottom, scale * left : scale * right] = part[
                down : down + tall, across : across + wide
            ]
    return enlarged


_TILE = 512  # pixels of a side that are enlarged at once
_OVERLAP = 40  # pixels; EDSR's output depends on 36 on each side
LOOKS: Mapping[str, Callable[..., Any]] = {
    "boxes": look_at_boxes,
    "enlarged": look_enlarged,
    "pixels": look_at_pixels,
}
"""By `Drawing.unit`: `(predict, image, shape, config) -> prediction` for an image of any size.

Coordinates are in the image's own pixels; `predict` takes images [n, h, w, c] of the shape.
"""
