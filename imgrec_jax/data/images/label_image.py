"""Decode label images: one value per pixel, unchanged."""

import io

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decoder_messages import collected
from imgrec_jax.data.images.image_errors import check_size, kind_of
from imgrec_jax.data.images.orientation import orientation_of, unturned, upright

_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")


def decode_mask(data: bytes, name: str, *, colors: bool = False) -> np.ndarray:
    """Return the values of a label image, int32[h, w]: palette entries, grey levels, 16 bits.

    With `colors` the value of a pixel is its colour, 0xRRGGBB.

    Raises:
        UserError: it is damaged, or has several channels but is not read as colours.
    """
    from PIL import Image

    kind = kind_of(data)
    if kind and kind not in _FORMATS:
        raise UserError(
            f"expected a label image as PNG, TIFF, BMP, GIF or PPM, got {name}, which is {kind} "
            "(compression changes values); try writing it again as PNG"
        )
    data, turn = unturned(data)
    try:
        with collected(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(*image.size, name)
            image.load()
            pixels = np.asarray(image.convert("RGB") if colors else image)
            pixels = upright(pixels, turn if image.format == "TIFF" else orientation_of(image.info))
    except UserError:
        raise
    except Exception as error:  # Pillow raises half a dozen unrelated errors on damaged input
        why = "it is none of these"
        if not isinstance(error, Image.UnidentifiedImageError):
            why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"expected an intact label image (PNG, TIFF, BMP, GIF or PPM), got {name}: {why}; "
            "try writing it again as PNG"
        ) from error
    if colors:
        red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
        return (red << 16) | (green << 8) | blue
    if pixels.ndim == 3 and (pixels[..., :3] == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise UserError(
            f"expected one value per pixel in {name}, got {pixels.dtype}{list(pixels.shape)}; try "
            "--config.data.mask_values='#000000=background,#800000=car' for colours"
        )
    return pixels.astype(np.int32)
