"""JPEG files told to end early, so that what lies below an area is not decoded.

Entropy-coded data can only be read from the front, and that is most of the work of decoding: a
picture whose header claims fewer rows stops there, and its rows are the same to the last bit.
(ITU-T T.81, annex B: the frame header holds height and sampling factors.)
"""

_BASELINE = 0xC0  # progressive files (0xC2) go over all rows several times
_ENDS = {0xD9, 0xDA}  # end of image, start of scan: no frame header comes behind them
_BLOCK = 8


def end_after(data: bytes, rows: int) -> bytes:
    """Return a JPEG that has at least the first `rows` rows of a picture, as they were.

    What cannot be shortened comes back as it is: all but baseline files. libjpeg tells on stderr
    of the data that it leaves out.
    """
    at = 2
    while at + 11 < len(data) and data[at] == 0xFF and data[at + 1] not in _ENDS:
        if data[at + 1] == _BASELINE:
            return _with_height(data, at + 5, rows)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data


def _with_height(data: bytes, at: int, rows: int) -> bytes:
    """Write whole rows of blocks into the frame header whose height is at `at`."""
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
