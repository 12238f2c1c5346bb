"""Read JPEG headers, judge libjpeg's warnings, truncate JPEG files after a number of rows.

Entropy-coded data can only be read sequentially, and this is most of the work of decoding. If the
header claims fewer rows, decoding stops there, and those rows are identical to the last bit.
(ITU-T T.81, annex B: the frame header holds height and sampling factors.)
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imgrec_jax.data.images.orientation import orientation

_START = b"\xff\xd8"
_BASELINE, _PROGRESSIVE = 0xC0, 0xC2  # progressive files store all rows in several passes
_SCAN = 0xDA
_PLAIN = {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # tables, comments, application data
_APP1 = 0xE1
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_END = b"\xff\xd9"
_DAMAGE = ("Corrupt JPEG data", "Premature end")  # other warnings are about headers
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_PADDING = 64  # bytes; some encoders fill the last block of their memory with zeros
_LEAST_FRAME = 6  # bytes of depth, height, width and the number of components
_BLOCK = 8


class Header(NamedTuple):
    """The required part of a header: stored size in pixels, offset of its end, orientation."""

    height: int
    width: int
    end: int
    orientation: int


def read_header(data: bytes) -> Header | None:
    """Return the header of a simple JPEG, None for any other file.

    A simple JPEG has 8 bits per channel and one or three channels, which libjpeg decodes without
    further processing. Pillow takes three times as long to open it.
    """
    height = width = 0
    blocks = {_EXIF: b"", _XMP: b""}
    for marker, start, end in _segments(data):
        if marker == _SCAN:
            turn = orientation(blocks[_EXIF], blocks[_XMP])
            return Header(height, width, end, turn) if height and width else None
        if marker in (_BASELINE, _PROGRESSIVE):
            if data[start] != 8 or data[start + 5 : start + 6] not in (b"\x01", b"\x03"):
                return None
            height = int.from_bytes(data[start + 1 : start + 3], "big")
            width = int.from_bytes(data[start + 3 : start + 5], "big")
        elif marker not in _PLAIN:
            return None
        elif marker == _APP1:
            for kind, block in blocks.items():
                if not block and data.startswith(kind, start):
                    blocks[kind] = data[start + len(kind) : end]
    return None


def damage(messages: Iterable[str], data: bytes, start: int) -> str:
    """Return what libjpeg's warnings say about damage in a file; "" if it is intact.

    Args:
        messages: the warnings, of which libjpeg prints the first.
        data: the file.
        start: where its first scan begins.
    """
    for message in messages:
        padding = _EXTRANEOUS.match(message)
        if message.startswith(_DAMAGE) and not (
            padding and _is_padded(data, data.find(_END, start), int(padding[1]))
        ):
            return message.strip().removeprefix("Corrupt JPEG data: ")
    return ""


def _is_padded(data: bytes, end: int, count: int) -> bool:
    """Return whether the `count` bytes before the end mark are a few zeros."""
    return count <= _MOST_PADDING and not data[end - count : end].strip(b"\0")


def end_after(data: bytes, rows: int) -> bytes:
    """Return a JPEG with at least the first `rows` rows of an image, unchanged.

    Only baseline files can be shortened; others are returned unchanged. libjpeg warns of the data
    that it skips.
    """
    for marker, start, end in _segments(data):
        if marker == _BASELINE and end - start >= _LEAST_FRAME:
            return _with_height(data, start + 1, rows)
    return data


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the segments up to the first scan: the type of each, and the range of its content."""
    at = len(_START) if data.startswith(_START) else len(data)
    while at + 4 < len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data):
            return
        yield marker, at + 4, end
        if marker == _SCAN:
            return
        at = end


def _with_height(data: bytes, at: int, rows: int) -> bytes:
    """Set the height at `at` in the frame header, rounded up to whole rows of blocks."""
    height, components = int.from_bytes(data[at : at + 2], "big"), data[at + 4]
    factors = data[at + 6 : at + 5 + 3 * components : 3]  # horizontal and vertical, four bits each
    if not factors:
        return data
    block = _BLOCK * max(factor & 15 for factor in factors)
    # One row more: chroma of the last row is interpolated from the one below it.
    whole = -(-(rows + 1) // block) * block if block else height
    if whole >= height:
        return data
    return b"".join((data[:at], whole.to_bytes(2, "big"), data[at + 2 :]))
