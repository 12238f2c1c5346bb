"""Read the orientation of an image in one way for every kind of file, and undo it.

The orientation is the entry 274 of the EXIF data (whose form is that of a TIFF file), and without
that entry `tiff:Orientation` in the XMP data. What is not a single integer from 1 to 8 counts as 1.
No decoder is left to turn an image itself: they differ in all but the plain cases.
"""

import math
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.data.images.bit_depth import opencv

_ORIENTATION, _XMP = 274, 700  # tags of TIFF 6.0 and of the XMP specification, part 3
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_IN_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*(\d+)")
_EXIF_HEADER = b"Exif\0\0"
_PROFILES = ("Raw profile type exif", "Raw profile type APP1")  # text chunks of ImageMagick
# By orientation: whether to swap rows and columns, then which axes to flip.
_UPRIGHT = {
    2: (False, (1,)), 3: (False, (0, 1)), 4: (False, (0,)), 5: (True, ()),
    6: (True, (1,)), 7: (True, (0, 1)), 8: (True, (0,)),
}  # fmt: skip
_OPENCV_FLIPS = {(0,): 0, (1,): 1, (0, 1): -1}


class _Entry(NamedTuple):
    """An entry of a TIFF directory: where its type is, its type, length, and value or offset."""

    at: int
    kind: int
    length: int
    value: bytes


class _Directory(NamedTuple):
    """The first directory of a TIFF, with its byte order ("<" or ">") and size of an offset."""

    order: str
    offset: str
    entries: dict[int, _Entry]


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """Return the orientation, 1 to 8, in EXIF or else XMP data; empty or damaged data has none."""
    directory = _read_directory(exif.removeprefix(_EXIF_HEADER))
    if directory and (entry := directory.entries.get(_ORIENTATION)):
        return _valid(_integer(directory, entry))
    found = _IN_XMP.search(xmp)
    return _valid(int(found[1][:9])) if found else 1


def orientation_of(info: Mapping[Any, Any]) -> int:
    """Return the orientation in the `info` of a PNG, WebP or other file opened by Pillow."""
    exif = info.get("exif") or next((_unhex(info[key]) for key in _PROFILES if key in info), b"")
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    return orientation(exif, xmp.encode() if isinstance(xmp, str) else xmp)


def unturned(data: bytes) -> tuple[bytes, int]:
    """Return a TIFF file with orientation 1, which no decoder turns, and the orientation it had.

    Other data is returned unchanged, with 1.
    """
    directory = _read_directory(data)
    if directory is None:
        return data, 1
    changed = bytearray(data)
    start, xmp = _xmp_of(directory, data)
    turn = orientation(data, xmp)
    if entry := directory.entries.get(_ORIENTATION):
        wide = directory.offset
        one = struct.pack(f"{directory.order}H{wide}H", 3, 1, 1)  # one SHORT
        changed[entry.at : entry.at + len(one)] = one
    for found in _IN_XMP.finditer(xmp):
        digits = slice(start + found.start(1), start + found.end(1))
        changed[digits] = b"1".rjust(found.end(1) - found.start(1), b"0")
    return bytes(changed), turn


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Return an image [h, w, ...] or [h, w] of this orientation, turned upright."""
    if turn not in _UPRIGHT:
        return pixels
    swap, axes = _UPRIGHT[turn]
    if pixels.dtype in (np.uint8, np.uint16) and math.prod(pixels.shape[2:]) <= 4:
        cv2 = opencv()  # takes a quarter of the time
        turned = cv2.transpose(pixels) if swap else pixels
        turned = cv2.flip(turned, _OPENCV_FLIPS[axes]) if axes else turned
        return turned.reshape(*turned.shape[:2], *pixels.shape[2:])
    return np.ascontiguousarray(np.flip(pixels.swapaxes(0, 1) if swap else pixels, axes))


def upright_size(height: int, width: int, turn: int) -> tuple[int, int]:
    """Return the height and width that an image of this orientation has upright."""
    return (width, height) if turn in _UPRIGHT and _UPRIGHT[turn][0] else (height, width)


def _read_directory(data: bytes) -> _Directory | None:
    """Return the entries of the first directory, as far as there are any; None if no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    (magic,) = struct.unpack_from(f"{order}H", data, 2)
    if magic not in (42, 43):  # TIFF, BigTIFF
        return None
    offset, counter, at = ("I", "H", 4) if magic == 42 else ("Q", "Q", 8)
    directory = _Directory(order, offset, {})
    try:
        (first,) = struct.unpack_from(order + offset, data, at)
        (count,) = struct.unpack_from(order + counter, data, first)
        at = first + struct.calcsize(order + counter)
        form = f"{order}HH{offset}{struct.calcsize(order + offset)}s"
        for _ in range(min(count, 1 << 16)):
            tag, *entry = struct.unpack_from(form, data, at)
            directory.entries.setdefault(tag, _Entry(at + 2, *entry))
            at += struct.calcsize(form)
    except (struct.error, OverflowError):  # it ends early
        pass
    return directory


def _integer(directory: _Directory, entry: _Entry) -> int:
    """Return the value of an entry that is one integer, else 0."""
    kind = _INTEGERS.get(entry.kind, "")
    if not kind or entry.length != 1 or struct.calcsize(f"={kind}") > len(entry.value):
        return 0
    return struct.unpack_from(directory.order + kind, entry.value)[0]


def _xmp_of(directory: _Directory, data: bytes) -> tuple[int, bytes]:
    """Return where the XMP data of a TIFF is, and the data."""
    entry = directory.entries.get(_XMP)
    if entry is None:
        return 0, b""
    (start,) = struct.unpack(directory.order + directory.offset, entry.value)
    return start, data[start : start + entry.length]


def _valid(value: int) -> int:
    return value if 1 <= value <= 8 else 1


def _unhex(profile: str) -> bytes:
    """Return the bytes of a profile: lines of name and length, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return b""
