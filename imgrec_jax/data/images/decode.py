"""Decode one image from bytes: upright, complete, and uint8 RGB by default.

| kind of image                    | result                                                 |
|----------------------------------|--------------------------------------------------------|
| grey, black-and-white            | the value in all three channels                        |
| RGBA, palette with transparency  | blended onto white                                     |
| CMYK, YCbCr                      | converted to RGB; colour profiles are not applied      |
| 16 bits a channel                | the upper 8 bits (PPM: rounded)                        |
| with an EXIF orientation         | rotated upright                                        |
| animated, several pages          | the first frame                                        |
| 32-bit or floating-point TIFF    | refused                                                |
| truncated, damaged, 0 pixels     | refused                                                |
| more than 178,000,000 pixels     | refused from the header, before anything is decoded    |
| HEIC, AVIF                       | refused, with the way to convert them                  |

Further options of a `Form`:

| form                 | result                                                             |
|----------------------|--------------------------------------------------------------------|
| channels = 1         | its luminance (ITU-R 601-2)                                        |
| channels = 4         | RGBA; the fourth channel of a TIFF may have any meaning            |
| channels = 2, from 5 | a TIFF with this many channels, unchanged; all else is refused     |
| dtype = "uint16"     | 16 bits unchanged (PNG, TIFF, PPM); 8 bits times 257, so that the  |
|                      | maximum stays the maximum                                          |
"""

import functools
import io
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.suffixes import HEIC_REMEDY
from imgrec_jax.data.images import bit_depth, jpeg, turbojpeg
from imgrec_jax.data.images.resize import (
    Area,
    Choose,
    centre,
    check_image_size,
    resize,
    stretch,
    whole,
)

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = bit_depth.MAX_PIXELS

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# Decoders silently fill missing data with grey; these formats have an end marker to check.
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


class Form(TypedDict, total=False):
    """The form to convert images to; see `decode` for the values."""

    image_size: int
    center_crop: float
    channels: int
    dtype: str


def decode(
    data: bytes,
    name: str,
    *,
    image_size: int = 0,
    center_crop: float = 1.0,
    channels: int = 0,
    dtype: str = "uint8",
    crop: Choose | None = None,
    end_early: bool = False,
) -> np.ndarray:
    """Return an image as uint8 or uint16[h, w, c], converted according to the tables above.

    Args:
        data: the bytes of the file.
        name: name of the file, for messages.
        image_size: 0 keeps the size; s makes the image s by s, as `fit` does.
        center_crop: side of the square as a fraction of the image's shorter side.
        channels: number of channels; 0 for RGB.
        dtype: "uint8" or "uint16".
        crop: the area to resize to `image_size` instead of the largest centred square, by linear
            interpolation.
        end_early: skip the data below a crop. It changes no pixel, but libjpeg reports it on
            stderr.

    Raises:
        UserError: the image is damaged, truncated, too large, of an unknown kind, or does not
            have these channels.
        UsageError: the image_size is impossible.
    """
    if image_size:
        check_image_size(image_size)
    middle = functools.partial(centre, part=center_crop)
    target = _Target((crop or middle) if image_size else whole, image_size, crop, end_early)
    if channels == 2 or channels > 4:
        pixels = target.cut(bit_depth.decode_bands(data, name))
    else:
        pixels = _decode_known(data, name, channels, dtype, target)
    pixels = bit_depth.convert(pixels, channels or 3, dtype, name)
    if crop and image_size:
        return resize(pixels, (image_size, image_size), bit_depth.opencv().INTER_LINEAR)
    return stretch(pixels, (image_size, image_size)) if image_size else pixels


class _Target(NamedTuple):
    """The requested area of an image, and its final size."""

    choose: Choose
    image_size: int
    crop: Choose | None
    end_early: bool

    def cut(self, pixels: np.ndarray, scale: int = 1, area: Area | None = None) -> np.ndarray:
        """Return the area of an image that may have been reduced by `scale`."""
        top, left, height, width = (area or self.choose(*pixels.shape[:2])).reduced(scale)
        return pixels[top : top + height, left : left + width]

    def scale(self, area: Area) -> int:
        """Return the factor by which decoding may reduce the area: 1, 2, 4 or 8.

        Crops keep at least their final number of pixels; others keep twice as many, which the
        last step averages.
        """
        least = self.image_size * (1 if self.crop else 2)
        shorter = min(area.height, area.width)
        return next((k for k in (8, 4, 2) if least and shorter >= k * least), 1)


def _decode_known(data: bytes, name: str, channels: int, dtype: str, target: _Target) -> np.ndarray:
    """Decode an image that Pillow can open, or its requested area."""
    from PIL import Image

    try:
        if header := jpeg.read_header(data):
            _check_size(header.width, header.height, name)
            _check_end("JPEG", data, header.end, name)
            pixels = _decode_jpeg(data, header.height, header.width, target)
            if pixels is not None:
                return pixels
        stream = io.BytesIO(data)
        with Image.open(stream, formats=_FORMATS) as image:
            _check_size(*image.size, name)
            _check_end(image.format or "", data, stream.tell(), name)
            if bit_depth.keeps_more(image, channels, dtype):
                return target.cut(bit_depth.decode_stored(image, data))
            pixels = _decode_turned(image, data, target)
            return target.cut(_decode_any(image, name, channels)) if pixels is None else pixels
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except Image.UnidentifiedImageError as error:
        if _is_heic(data):
            raise UserError(
                f"expected an image ({', '.join(_FORMATS)}), got {name}, which is HEIC or AVIF; "
                f"try {HEIC_REMEDY}"
            ) from error
        raise UserError(
            f"expected an image ({', '.join(_FORMATS)}), got {name} ({len(data)} bytes), which "
            "is damaged or of another kind; try removing or converting it"
        ) from error
    except Exception as error:  # Pillow raises half a dozen unrelated errors on damaged input
        raise _damaged(name, str(error) or type(error).__name__) from error


def _decode_turned(image: "Image", data: bytes, target: _Target) -> np.ndarray | None:
    """Decode a JPEG whose orientation Pillow has read; None if OpenCV cannot."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB"):
        return None
    turn = image.getexif().get(bit_depth.ORIENTATION, 1) if "exif" in image.info else 1
    width, height = image.size if turn < 5 else image.size[::-1]
    return _decode_jpeg(data, height, width, target, turn)


def _decode_jpeg(
    data: bytes, height: int, width: int, target: _Target, turn: int = 1
) -> np.ndarray | None:
    """Decode a JPEG of this upright size, faster than Pillow; None if that fails.

    Uses libjpeg-turbo for a part of the image, if it is available, and OpenCV otherwise. Large
    images are reduced during decoding (by a scaled inverse transform).
    """
    cv2 = bit_depth.opencv()
    area = target.choose(height, width)
    scale = target.scale(area)
    if turn < 2 and (area.height, area.width) != (height, width):
        if (pixels := turbojpeg.decode_area(data, area, scale)) is not None:
            return pixels
        if target.end_early and scale == 1:
            data = jpeg.end_after(data, area.top + area.height)
    flag = {
        1: cv2.IMREAD_COLOR_RGB,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[scale]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if pixels is None:
        return None
    pixels = target.cut(pixels, scale, area)
    return pixels if scale == 1 else np.ascontiguousarray(pixels[..., ::-1])  # it is BGR


def _decode_any(image: "Image", name: str, channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or (upright.mode == "I" and image.format != "PPM"):
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


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise _damaged(name, f"its size is {width}x{height}")
    if width * height > MAX_PIXELS:
        raise _too_large(name)


def _check_end(kind: str, data: bytes, start: int, name: str) -> None:
    """Check for the end marker after the header (a thumbnail in the header has its own)."""
    mark = _END_MARKS.get(kind, b"")
    if not data.endswith(mark) and data.find(mark, start) < 0:
        raise _damaged(name, "it is truncated")


def _is_heic(data: bytes) -> bool:
    """Return whether a file starts with a brand of ISO/IEC 23008-12 (HEIF)."""
    brands = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif")
    return data[4:8] == b"ftyp" and data[8:12] in brands


def _damaged(name: str, why: str) -> UserError:
    return UserError(
        f"expected an intact image, got {name}: {why}; try copying it again or removing it"
    )


def _too_large(name: str) -> UserError:
    return UserError(
        f"expected an image of at most {MAX_PIXELS:,} pixels, got more in {name}; "
        "try making it smaller or removing it"
    )
