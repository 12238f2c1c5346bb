"""Check images against the sizes in their annotations, and stretch both to one shape."""

import logging
from typing import Unpack

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decode import Form, decode
from imgrec_jax.data.images.resize import stretch

_logger = logging.getLogger(__name__)

_warned: set[str] = set()  # folders with an image whose annotation ignores its orientation


def stretch_annotated(
    image: np.ndarray,
    data: bytes,
    name: str,
    size: tuple[int, int],
    shape: tuple[int, int],
    **form: Unpack[Form],
) -> np.ndarray:
    """Return an image [h, w, c] as `match_annotated` does, stretched to a shape (height, width).

    Raises:
        UserError: as in `match_annotated`.
    """
    return stretch(match_annotated(image, data, name, size, **form), shape)


def match_annotated(
    image: np.ndarray, data: bytes, name: str, size: tuple[int, int], **form: Unpack[Form]
) -> np.ndarray:
    """Return an image [h, w, c] of the size in its annotation.

    Boxes of an image with an EXIF orientation may have been drawn on the pixels as stored. If the
    annotated size fits only these, the stored image is returned, with one warning for its folder.

    Args:
        image: decoded upright.
        data: the file it is from.
        name: name of the file, for messages.
        size: its (height, width) in its annotation.
        form: as it was decoded.

    Raises:
        UserError: the image has another size than its annotation says.
    """
    if image.shape[:2] == size[::-1] != size:
        stored = decode(data, name, **form, turned=False)
        if stored.shape[:2] == size:
            _warn_as_stored(name)
            image = stored
    check_annotated(image, size, name)
    return image


def check_annotated(image: np.ndarray, size: tuple[int, int], name: str) -> None:
    """Raise an error unless an image [h, w, c] has the (height, width) of its annotation."""
    if image.shape[:2] != size:
        raise UserError(
            f"expected an image of {size[1]}x{size[0]} as its annotation says, got "
            f"{image.shape[1]}x{image.shape[0]} in {name}; try correcting the annotation"
        )


def _warn_as_stored(name: str) -> None:
    folder = name.rpartition("/")[0]
    if folder not in _warned:
        _warned.add(folder)
        _logger.warning(
            "%s is turned by its EXIF orientation, but its annotation fits only the pixels as "
            "stored: such images are read as stored; try removing their orientation with "
            "exiftool -Orientation=",
            name,
        )
