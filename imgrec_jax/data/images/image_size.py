"""Measure images without decoding them."""

import io

from imgrec_jax.data.images import jpeg
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.image_errors import FORMATS
from imgrec_jax.data.images.orientation import orientation_of, upright_size


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Return the (height, width) of an image as `decode` returns it, mostly from its header alone.

    Raises:
        UserError: it is damaged, or no image.
    """
    from PIL import Image

    if header := jpeg.read_header(data):
        return upright_size(header.height, header.width, header.orientation)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            late = image.format == "TIFF" or b"eXIf" in data  # an orientation anywhere in the file
            if not late:
                return upright_size(image.height, image.width, orientation_of(image.info))
    except Exception:
        pass
    height, width, _ = decode(data, name).shape
    return height, width


def is_grey(data: bytes) -> bool:
    """Return whether an image is stored with one channel; False for what cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return len(image.getbands()) == 1 and image.mode != "P"
    except Exception:  # decoding reports the error
        return False
