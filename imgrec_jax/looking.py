"""How networks whose answers belong to places see pictures of any size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from imgrec_jax.data.depth import opencv
from imgrec_jax.data.resize import stretch
from imgrec_jax.ops.tiles import blend_tiles

Config = Any
"""A locked ConfigDict; what it holds is known at run time only."""


def look_at_pixels(
    predict: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    shape: tuple[int, int, int],
    config: Config,
) -> np.ndarray:
    """Return the probabilities of each pixel of a picture, float32[h, w, k].

    At the scale of training: where pictures were brought to `data.image_shape`, this one is too;
    where squares were cut to `data.image_size`, its shorter side is brought there; else it stays
    as it is. What is larger than the run's pictures is seen in overlapping tiles of their size.
    """
    size = picture.shape[:2]
    scaled = picture
    if config.data.image_shape:
        scaled = stretch(picture, shape[:2])
    elif config.data.image_size:
        factor = config.data.image_size / min(size)
        scaled = stretch(picture, (round(size[0] * factor), round(size[1] * factor)))
    probabilities = blend_tiles(predict, scaled, shape[:2])
    if scaled.shape[:2] == size:
        return probabilities
    height, width = size
    cv2 = opencv()
    planes = [cv2.resize(plane, (width, height)) for plane in np.moveaxis(probabilities, -1, 0)]
    return np.stack(planes, axis=-1)
