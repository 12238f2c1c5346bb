"""Sizes are those that decoding gives, orientation included."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.image_size import image_size


def encoded(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(np.zeros((3, 7, 3), np.uint8)).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 9])
def test_the_size_is_that_of_the_decoded_image(kind, orientation):
    data = encoded(kind, orientation)
    assert image_size(data, "x") == decode(data, "x").shape[:2]


def test_what_is_no_image_is_named():
    with pytest.raises(UserError, match=r"x\.jpg"):
        image_size(b"text", "x.jpg")
