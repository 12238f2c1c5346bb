"""Measure images without decoding them."""

import io

from imgrec_jax.data.images.decode import decode

_TURNED = range(5, 9)  # EXIF orientations that exchange height and width
_ORIENTATION = 274


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Return the (height, width) of an image as `decode` returns it, mostly from its header alone.

    Raises:
        UserError: it is damaged, or no image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # decoding reports the error
        height, width = decode(data, name).shape[:2]
        turned = False
    return (width, height) if turned else (height, width)
