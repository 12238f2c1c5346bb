"""Decode a part of a JPEG with libjpeg-turbo, without decoding the rest.

OpenCV and Pillow cannot do this: rows above the part are read but not computed, columns beside it
are not computed, rows below it are not read. This saves a fifth of the time for a training image, a
quarter for a large one.
Needs version 3 of the library's own interface, TurboJPEG, from the wheel `turbojpeg` or the system.
"""

import ctypes
import ctypes.util
import functools
import importlib.util
from pathlib import Path

import numpy as np

from imgrec_jax.data.images.resize import Area

_DECOMPRESS = 1  # constants of turbojpeg.h
_SUBSAMPLING, _WIDTH, _HEIGHT = 4, 5, 6
_BLOCK_WIDTHS = {0: 8, 1: 16, 2: 16, 3: 8, 4: 8, 5: 32, 6: 8}
_RGB = 0
_AROUND = 2  # pixels: chroma is interpolated from its neighbours


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "w", "h")]


class _Factor(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("num", "denom")]


def decode_area(data: bytes, area: Area, scale: int = 1) -> np.ndarray | None:
    """Return the area of a JPEG, uint8[h, w, 3] in RGB, bitwise as in a full decode.

    With a scale of 2, 4 or 8 decoding reduces it (by a smaller inverse transform), and the
    result is the `reduced` area. None if the library is not available, or if it reports a
    problem with the file.
    """
    library = _library()
    if library is None:
        return None
    handle = library.tj3Init(_DECOMPRESS)
    try:
        return _decode(library, handle, data, area, scale)
    finally:
        library.tj3Destroy(handle)


def _decode(
    library: ctypes.CDLL, handle: int, data: bytes, area: Area, scale: int
) -> np.ndarray | None:
    if library.tj3DecompressHeader(handle, data, len(data)):
        return None
    found = (library.tj3Get(handle, what) for what in (_WIDTH, _HEIGHT, _SUBSAMPLING))
    width, height, subsampling = found
    block = _BLOCK_WIDTHS.get(subsampling, 0) // scale
    if not block or area.top + area.height > height or area.left + area.width > width:
        return None
    if library.tj3SetScalingFactor(handle, _Factor(1, scale)):
        return None
    width, height = -(-width // scale), -(-height // scale)
    area = area.reduced(scale)
    bottom, right = min(area.top + area.height, height), min(area.left + area.width, width)
    x, y = max(area.left - _AROUND, 0) // block * block, max(area.top - _AROUND, 0)
    w, h = min(right + _AROUND, width) - x, min(bottom + _AROUND, height) - y
    if library.tj3SetCroppingRegion(handle, _Region(x, y, w, h)):
        return None
    pixels = np.empty((h, w, 3), np.uint8)
    if library.tj3Decompress8(handle, data, len(data), pixels.ctypes.data, 0, _RGB):
        return None
    return pixels[area.top - y : bottom - y, area.left - x : right - x]


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the library with declared function types (turbojpeg.h); None if not available."""
    for path in _paths():
        try:
            library = ctypes.CDLL(path)
            pointer, number = ctypes.c_void_p, ctypes.c_int
            buffer = (pointer, ctypes.c_char_p, ctypes.c_size_t)
            library.tj3Init.restype = pointer
            library.tj3Init.argtypes = [number]
            library.tj3Destroy.argtypes = [pointer]
            library.tj3DecompressHeader.argtypes = buffer
            library.tj3Get.argtypes = [pointer, number]
            library.tj3SetScalingFactor.argtypes = [pointer, _Factor]
            library.tj3SetCroppingRegion.argtypes = [pointer, _Region]
            library.tj3Decompress8.argtypes = [*buffer, pointer, number, number]
        except (OSError, AttributeError):  # missing, or version 2
            continue
        return library
    return None


def _paths() -> list[str]:
    """Return the possible paths of the library: in the wheel, in the system."""
    wheel = importlib.util.find_spec("turbojpeg")
    folder = Path(wheel.origin).parent if wheel and wheel.origin else Path("/none")
    bundled = [*folder.glob("turbojpeg.libs/libturbojpeg*"), *folder.glob(".dylibs/libturbojpeg*")]
    system = ctypes.util.find_library("turbojpeg")
    return [*map(str, bundled), *([system] if system else [])]
