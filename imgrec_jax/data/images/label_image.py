"""Decode label images, whose pixels are numbers of classes rather than brightness."""

import io

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decoder_messages import collected
from imgrec_jax.data.images.file_kind import kind_of
from imgrec_jax.data.images.image_errors import check_size
from imgrec_jax.data.images.orientation import orientation_of, unturned, upright

_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
Shape = tuple[int, int]


def check_sizes(image: Shape, mask: Shape, name: str) -> None:
    """Raise an error unless an image and its mask with this name have the same (height, width)."""
    if image == mask:
        return
    hint = "resizing it without interpolation"
    if image == mask[::-1]:
        hint = (
            "turning it by 90 degrees as the EXIF orientation turns the image, or removing that "
            "orientation from the image"
        )
    raise UserError(
        f"expected a mask of the size of its image ({image[1]}x{image[0]}), got "
        f"{mask[1]}x{mask[0]} in {name}; try {hint}"
    )


def decode_mask(data: bytes, name: str, *, colors: bool = False) -> np.ndarray:
    """Return the values of a label image, int32[h, w]: palette entries, grey levels, 16 bits.

    With `colors` the value of a pixel is its colour, 0xRRGGBB.

    Raises:
        UserError: it is damaged, or has several channels but is not read as colours.
    """
    from PIL import Image

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
        raise UserError(
            f"expected an intact label image (PNG, TIFF, BMP, GIF or PPM; JPEG changes values), "
            f"got {name}: {_reason(error, data)}; try writing it again as PNG"
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


def _reason(error: Exception, data: bytes) -> str:
    """Return why a file is no label image; Pillow names only the object that it read from."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        kind = kind_of(data)
        return f"it is {kind}" if kind else f"its {len(data)} bytes are of another kind"
    return (str(error) or type(error).__name__).splitlines()[0]


def nearest(mask: np.ndarray, shape: Shape) -> np.ndarray:
    """Resize a mask to a shape; each pixel gets the value at its centre."""
    rows = ((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0]).astype(np.int64)
    columns = ((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1]).astype(np.int64)
    return mask[rows[:, None], columns[None]]
