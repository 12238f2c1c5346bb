"""Decode images at their stored depth: 16 bits per channel, any number of channels."""

import functools
import io
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.image_errors import MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

# Tags of TIFF 6.0.
_BITS_PER_SAMPLE = 258
_SAMPLES_PER_PIXEL = 277


@functools.cache
def opencv() -> ModuleType:
    """Return OpenCV, configured without threads and messages of its own."""
    import cv2

    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def keeps_more(image: "Image", channels: int, dtype: str) -> bool:
    """Return whether an image has more of the requested bits or channels than Pillow returns."""
    if image.format != "TIFF":
        return dtype == "uint16" and image.format in ("PNG", "PPM")
    tags: Mapping[int, Any] = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
    deep = dtype == "uint16" and max(tags.get(_BITS_PER_SAMPLE, (1,))) == 16
    fourth = channels == 4 and image.mode == "RGB" and tags.get(_SAMPLES_PER_PIXEL) == 4
    return deep or fourth


def decode_stored(data: bytes) -> np.ndarray:
    """Return a PNG, TIFF or PPM at its depth, as stored: uint8 or uint16[h, w, 1, 3 or 4].

    Raises:
        ValueError: OpenCV cannot read it, or it has another depth.
    """
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot read it")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError("it has not 8 or 16 bits a channel")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] >= 3:  # OpenCV's order is BGR
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


def decode_bands(data: bytes, name: str) -> np.ndarray:
    """Return the first page of a TIFF with any number of channels as stored.

    The result is uint8 or uint16[h, w, c].

    Raises:
        UserError: it is not such a TIFF, is damaged or too large, or `tifffile` is not installed.
    """
    try:
        import tifffile  # pyright: ignore[reportMissingImports]  # optional dependency
    except ImportError as error:
        raise UserError(
            f"expected tifffile to read the channels of {name}, got none installed; "
            "try pip install 'imgrec_jax[tiff]'"
        ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            bands = max(3, page.samplesperpixel)
            if page.imagewidth * page.imagelength * bands > 3 * MAX_PIXELS:
                raise ValueError(f"it has more than {MAX_PIXELS:,} pixels of 3 channels")
            pixels = page.asarray()
            if page.axes.startswith("S"):  # channels-first
                pixels = np.moveaxis(pixels, 0, -1)
    except Exception as error:  # tifffile raises many unrelated errors on damaged input
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"expected an intact TIFF, got {name}: {why}; "
            "try --config.data.channels=3 for other images, or removing it"
        ) from error
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3):
        raise UserError(
            f"expected a TIFF of 8 or 16 bits a channel, got {pixels.dtype} "
            f"{list(pixels.shape)} in {name}; try converting it"
        )
    return pixels.reshape(*pixels.shape[:2], -1)


def convert(pixels: np.ndarray, channels: int, dtype: str, name: str) -> np.ndarray:
    """Convert an image [h, w, c] to this number of channels and this dtype.

    Raises:
        UserError: its channels cannot be converted to this number.
    """
    if pixels.dtype != dtype:
        pixels = (pixels >> 8).astype(np.uint8) if dtype == "uint8" else pixels * np.uint16(257)
    have = pixels.shape[2]
    if have == 4 and channels in (1, 3):
        pixels = _lay_on_white(pixels)
    if pixels.shape[2] == 3 and channels == 1:
        cv2 = opencv()
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
    elif pixels.shape[2] == 1 and channels in (3, 4):
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3 and channels == 4:
        opaque = np.full((*pixels.shape[:2], 1), np.iinfo(dtype).max, dtype)
        pixels = np.concatenate([pixels, opaque], axis=2)
    if pixels.shape[2] != channels:
        raise UserError(
            f"expected images of {channels} channels, got {have} in {name}; "
            f"try --config.data.channels={have}"
        )
    return pixels


def _lay_on_white(pixels: np.ndarray) -> np.ndarray:
    """Blend RGBA onto white and return RGB, rounded: colour * alpha + white * (1 - alpha)."""
    full = int(np.iinfo(pixels.dtype).max)
    wide = pixels.astype(np.uint64)
    color, alpha = wide[..., :3], wide[..., 3:]
    return ((color * alpha + full * (full - alpha) + full // 2) // full).astype(pixels.dtype)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return uint8[h, w, 3] for drawing: grey from one or two channels, else the first three."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.shape[-1] < 3:
        return np.repeat(image[..., :1], 3, axis=-1)
    return np.ascontiguousarray(image[..., :3])
