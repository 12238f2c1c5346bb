"""Crop and resize images."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.images import bit_depth
from imgrec_jax.data.images.image_errors import MAX_PIXELS


class Area(NamedTuple):
    """A rectangle in an image, in pixels from its upper left corner."""

    top: int
    left: int
    height: int
    width: int

    def reduced(self, scale: int) -> "Area":
        """Return the same area in an image reduced by `scale`."""
        return Area(*(-(-value // scale) for value in self))


Choose = Callable[[int, int], Area]
"""Maps the height and width of an upright image to the area to decode."""


def fit(image: np.ndarray, size: int, part: float = 1.0) -> np.ndarray:
    """Return [size, size, c]: the centred square of an image [h, w, c], resized.

    The side of the square is the fraction `part` of the image's shorter side. This equals resizing
    the shorter side to `size / part` and cropping the centre, in the order that never makes a
    larger intermediate image. Shrinking averages the area under each new pixel (no aliasing),
    enlarging is bicubic.

    Raises:
        UsageError: the size is below 1, or gives more pixels than an image may have.
    """
    check_image_size(size)
    height, width, _ = image.shape
    top, left, side, _ = centre(height, width, part)
    return stretch(image[top : top + side, left : left + side], (size, size))


def stretch(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a whole image [h, w, c] resized to (height, width), ignoring its aspect ratio.

    Shrinking averages the area under each new pixel, enlarging either side is bicubic.
    """
    cv2 = bit_depth.opencv()
    shrinks = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
    return resize(image, shape, cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def resize(image: np.ndarray, shape: tuple[int, int], how: int) -> np.ndarray:
    """Resize an image [h, w, c] to (height, width) by one of OpenCV's interpolations."""
    if image.shape[:2] == shape:
        return image
    height, width = shape
    parts = [  # OpenCV resizes at most four channels at once
        bit_depth.opencv().resize(image[..., c : c + 4], (width, height), interpolation=how)
        for c in range(0, image.shape[2], 4)
    ]
    parts = [part.reshape(*shape, -1) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def whole(height: int, width: int) -> Area:
    """Return the area of the whole image."""
    return Area(0, 0, height, width)


def centre(height: int, width: int, part: float = 1.0) -> Area:
    """Return the centred square whose side is the fraction `part` of the shorter side."""
    side = max(1, round(part * min(height, width)))
    return Area((height - side) // 2, (width - side) // 2, side, side)


def check_image_size(size: int) -> None:
    """Raise an error if images cannot have this size."""
    if size < 1 or size * size > MAX_PIXELS:
        raise UsageError(
            f"expected data.image_size to be 0 (as it is) or a number of pixels, got {size}; "
            "try --config.data.image_size=224"
        )
