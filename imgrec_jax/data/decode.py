"""One picture from its bytes: upright, whole, and uint8 RGB unless another form is asked for.

| kind of picture                  | what becomes of it                                     |
|----------------------------------|--------------------------------------------------------|
| grey, black-and-white            | the value in all three channels                        |
| RGBA, palette with transparency  | laid on white                                          |
| CMYK, YCbCr                      | converted to RGB; colour profiles are not applied      |
| 16 bits a channel                | the upper 8 bits (PPM: rounded)                        |
| turned by an EXIF orientation    | turned upright                                         |
| animated, several pages          | the first frame                                        |
| 32-bit or floating-point TIFF    | refused                                                |
| truncated, damaged, 0 pixels     | refused                                                |
| more than 178,000,000 pixels     | refused from the header, before anything is decoded    |
| HEIC, AVIF                       | refused, with the way to convert them                  |

What a `Form` asks for beyond that:

| form                 | what becomes of the picture                                        |
|----------------------|--------------------------------------------------------------------|
| channels = 1         | its luminance (ITU-R 601-2)                                        |
| channels = 4         | RGBA; the fourth channel of a TIFF, whatever it is                 |
| channels = 2, from 5 | a TIFF of so many channels as it is; all else is refused           |
| dtype = "uint16"     | 16 bits as they are (PNG, TIFF, PPM); 8 bits times 257: full stays |
|                      | full                                                               |
"""

import io
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data import depth

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""The file names, in lower case, that are taken for pictures."""

HEIC_SUFFIXES = (".heic", ".heif", ".hif", ".avif")
"""The file names, in lower case, of pictures that have to be converted first."""

HEIC_REMEDY = (
    "converting it to JPEG ('heif-convert', or 'magick mogrify -format jpg'; iPhones take JPEGs "
    "with the camera setting Most Compatible)"
)

MAX_PIXELS = depth.MAX_PIXELS

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# Decoders fill what is missing with grey or say nothing: these formats tell where they end.
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


class Form(TypedDict, total=False):
    """What pictures are brought to; `decode` says what the values mean."""

    image_size: int
    crop: float
    channels: int
    dtype: str


def decode(
    data: bytes,
    name: str,
    *,
    image_size: int = 0,
    crop: float = 1.0,
    channels: int = 0,
    dtype: str = "uint8",
) -> np.ndarray:
    """Return a picture as uint8 or uint16[h, w, c], converted as the tables above say.

    Args:
        data: the bytes of the file.
        name: where they come from, for messages.
        image_size: 0 keeps the size; s makes the picture s by s, as `fit` does.
        crop: of that square, the part of the picture's shorter side that it has.
        channels: how many to return; 0 for RGB.
        dtype: "uint8" or "uint16".

    Raises:
        UserError: the picture is damaged, truncated, absurdly large, of an unknown kind, or has
            no such channels.
        UsageError: the image_size is impossible.
    """
    if channels == 2 or channels > 4:
        pixels = depth.decode_bands(data, name)
    else:
        pixels = _decode_known(data, name, channels, dtype)
    pixels = depth.convert(pixels, channels or 3, dtype, name)
    return fit(pixels, image_size, crop) if image_size else pixels


def _decode_known(data: bytes, name: str, channels: int, dtype: str) -> np.ndarray:
    """Decode what Pillow can open."""
    from PIL import Image

    stream = io.BytesIO(data)
    try:
        with Image.open(stream, formats=_FORMATS) as picture:
            _check_size(picture, name)
            _check_end(picture, data, stream.tell(), name)
            if depth.keeps_more(picture, channels, dtype):
                return depth.decode_stored(picture, data)
            pixels = _decode_jpeg(picture, data)
            return _decode_any(picture, name, channels) if pixels is None else pixels
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except Image.UnidentifiedImageError as error:
        if _is_heic(data):
            raise UserError(
                f"expected a picture ({', '.join(_FORMATS)}), got {name}, which is HEIC or AVIF; "
                f"try {HEIC_REMEDY}"
            ) from error
        raise UserError(
            f"expected a picture ({', '.join(_FORMATS)}), got {name} ({len(data)} bytes), which "
            "is damaged or of another kind; try removing or converting it"
        ) from error
    except Exception as error:  # on damaged input Pillow raises half a dozen unrelated kinds
        raise _damaged(name, str(error) or type(error).__name__) from error


def fit(image: np.ndarray, size: int, crop: float = 1.0) -> np.ndarray:
    """Return [size, size, c]: the centred square of a picture [h, w, c], resized.

    Its side is the part `crop` of the picture's shorter one. This is the shorter side brought to
    `size / crop` and the middle cut out, in the order that never makes a larger picture on the
    way. Shrinking averages the area under each new pixel (no aliasing), enlarging is bicubic.

    Raises:
        UsageError: the size is below 1, or makes more pixels than any picture may have.
    """
    if size < 1 or size * size > MAX_PIXELS:
        raise UsageError(
            f"expected data.image_size to be 0 (as it is) or a number of pixels, got {size}; "
            "try --config.data.image_size=224"
        )
    height, width, _ = image.shape
    side = max(1, round(crop * min(height, width)))
    if height == width == side == size:
        return image
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return stretch(square, (size, size))


def stretch(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a whole picture [h, w, c] brought to (height, width), whatever its aspect was.

    Shrinking averages the area under each new pixel, enlarging either side is bicubic.
    """
    if image.shape[:2] == shape:
        return image
    cv2 = depth.opencv()
    height, width = shape
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    image = np.ascontiguousarray(image)
    parts = [  # OpenCV resizes up to four channels at once
        cv2.resize(image[..., c : c + 4], (width, height), interpolation=how).reshape(*shape, -1)
        for c in range(0, image.shape[2], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _decode_jpeg(picture: "Image", data: bytes) -> np.ndarray | None:
    """Decode the everyday JPEG with OpenCV, several times faster than Pillow; None if it cannot."""
    if picture.format not in ("JPEG", "MPO") or picture.mode not in ("L", "RGB"):
        return None
    cv2 = depth.opencv()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def _decode_any(picture: "Image", name: str, channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode == "F" or (upright.mode == "I" and picture.format != "PPM"):
        raise UserError(
            f"expected 8 or 16 bits a channel, got 32 in {name}; try converting it to 16-bit PNG"
        )
    if upright.mode.startswith("I"):  # Pillow's own conversion clips at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if channels == 4:
        return np.array(upright.convert("RGBA"))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return np.array(upright.convert("RGB"))


def _check_size(picture: "Image", name: str) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise _damaged(name, f"its size is {width}x{height}")
    if width * height > MAX_PIXELS:
        raise _too_large(name)


def _check_end(picture: "Image", data: bytes, start: int, name: str) -> None:
    """Look for the end mark behind the header (a thumbnail in the header has one of its own)."""
    mark = _END_MARKS.get(picture.format or "", b"")
    if data.find(mark, start) < 0:
        raise _damaged(name, "it is truncated")


def _is_heic(data: bytes) -> bool:
    """Look for the brands of ISO/IEC 23008-12 (HEIF) at the start of a file."""
    brands = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif")
    return data[4:8] == b"ftyp" and data[8:12] in brands


def _damaged(name: str, why: str) -> UserError:
    return UserError(
        f"expected an intact picture, got {name}: {why}; try copying it again or removing it"
    )


def _too_large(name: str) -> UserError:
    return UserError(
        f"expected a picture of at most {MAX_PIXELS:,} pixels, got more in {name}; "
        "try making it smaller or removing it"
    )
