"""Decode one image from bytes: upright, complete, and uint8 RGB by default.

| kind of image                    | result                                                 |
|----------------------------------|--------------------------------------------------------|
| grey, black-and-white            | the value in all three channels                        |
| RGBA, palette with transparency  | blended onto white                                     |
| CMYK, YCbCr                      | converted to RGB; colour profiles are not applied      |
| 16 bits a channel                | the upper 8 bits (PPM: rounded)                        |
| with an orientation (EXIF, XMP)  | rotated upright (`orientation`)                        |
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
from imgrec_jax.data.images import bit_depth, jpeg, turbojpeg
from imgrec_jax.data.images.decoder_messages import collected
from imgrec_jax.data.images.image_errors import (
    FORMATS,
    check_size,
    damaged,
    too_large,
    unidentified,
)
from imgrec_jax.data.images.orientation import orientation_of, unturned, upright, upright_size
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

# Decoders silently fill missing data with grey; these formats have an end marker to check.
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}

_LEAST_SHORTENED = 8192  # bytes of a JPEG; shorter ones are decoded sooner than shortened


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
    checked: bool = False,
    turned: bool = True,
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
        checked: the file is known to be intact, so that the part of a JPEG below a crop is not
            read. This changes no pixel.
        turned: False keeps the orientation in which the image is stored.

    Raises:
        UserError: the image is damaged, truncated, too large, of an unknown kind, or does not
            have these channels.
        UsageError: the image_size is impossible.
    """
    if image_size:
        check_image_size(image_size)
    middle = functools.partial(centre, part=center_crop)
    choose = (crop or middle) if image_size else whole
    target = _Target(choose, image_size, crop, checked, turned)
    try:
        if channels == 2 or channels > 4:
            data, turn = unturned(data)
            pixels = target.cut(bit_depth.decode_bands(data, name), turn)
        else:
            pixels = _decode_known(data, name, channels, dtype, target)
        pixels = bit_depth.convert(pixels, channels or 3, dtype, name)
        if crop and image_size:
            return resize(pixels, (image_size, image_size), bit_depth.opencv().INTER_LINEAR)
        return stretch(pixels, (image_size, image_size)) if image_size else pixels
    except UserError:
        raise
    except Exception as error:  # decoders raise a dozen unrelated errors on damaged input
        raise _explained(error, name, data) from error


class _Target(NamedTuple):
    """The requested area of an upright image, and its final size; see `decode`."""

    choose: Choose
    image_size: int
    crop: Choose | None
    checked: bool
    turned: bool

    def cut(
        self, stored: np.ndarray, turn: int, scale: int = 1, area: Area | None = None
    ) -> np.ndarray:
        """Return the area of an image of this orientation, possibly reduced by `scale`."""
        pixels = upright(stored, turn) if self.turned else stored
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

    if header := jpeg.read_header(data):
        check_size(header.width, header.height, name)
        _check_end("JPEG", data, header.end, name)
        pixels = _decode_jpeg(data, name, header, target)
        if pixels is not None:
            return pixels
    data, turn = unturned(data)
    stream = io.BytesIO(data)
    with collected(), Image.open(stream, formats=FORMATS) as image:
        check_size(*image.size, name)
        start = stream.tell()
        _check_end(image.format or "", data, start, name)
        if bit_depth.keeps_more(image, channels, dtype):
            pixels = bit_depth.decode_stored(data)
        else:
            pixels = _decode_any(image, name, channels)
        if image.format != "TIFF":
            image.load()  # a PNG may have its EXIF data at the end
            turn = orientation_of(image.info)
        if image.format in ("JPEG", "MPO"):
            _check_body(data, name, start)
        return target.cut(pixels, turn)


def _decode_jpeg(data: bytes, name: str, header: jpeg.Header, target: _Target) -> np.ndarray | None:
    """Decode the requested area of a JPEG, faster than Pillow; None if that fails.

    Uses libjpeg-turbo for a part of the image, if it is available, and OpenCV otherwise. Large
    images are reduced during decoding (by a scaled inverse transform).
    """
    cv2 = bit_depth.opencv()
    turn = header.orientation if target.turned else 1
    size = upright_size(header.height, header.width, turn)
    area = target.choose(*size)
    scale = target.scale(area)
    if target.checked and turn == 1 and (area.height, area.width) != size:
        if (pixels := turbojpeg.decode_area(data, area, scale)) is not None:
            return pixels
        if scale == 1 and len(data) >= _LEAST_SHORTENED:
            data = jpeg.end_after(data, area.top + area.height)
    flag = {
        1: cv2.IMREAD_COLOR_RGB,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[scale]
    with collected() as messages:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        return None
    if not target.checked and (why := jpeg.damage(messages, data, header.end)):
        raise damaged(name, why)
    pixels = target.cut(pixels, turn, scale, area)
    return pixels if scale == 1 else np.ascontiguousarray(pixels[..., ::-1])  # it is BGR


def _decode_any(image: "Image", name: str, channels: int) -> np.ndarray:
    from PIL import Image

    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise UserError(
            f"expected 8 or 16 bits a channel, got 32 in {name}; try converting it to 16-bit PNG"
        )
    if image.mode.startswith("I"):  # Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if channels == 4:
        return np.array(image.convert("RGBA"))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _check_end(kind: str, data: bytes, start: int, name: str) -> None:
    """Check for the end marker after the header (a thumbnail in the header has its own)."""
    mark = _END_MARKS.get(kind, b"")
    if not data.endswith(mark) and data.find(mark, start) < 0:
        raise damaged(name, "it is truncated")


def _check_body(data: bytes, name: str, start: int) -> None:
    """Check the scans of a JPEG that Pillow has decoded, which reports no damage in them."""
    cv2 = bit_depth.opencv()
    with collected() as messages:
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if why := jpeg.damage(messages, data, start):
        raise damaged(name, why)


def _explained(error: Exception, name: str, data: bytes) -> UserError:
    """Return the error for a file that a decoder has failed on."""
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError):
        return too_large(name)
    if isinstance(error, Image.UnidentifiedImageError):
        return unidentified(name, data)
    return damaged(name, (str(error) or type(error).__name__).splitlines()[0])
