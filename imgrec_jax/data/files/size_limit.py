"""Bound what a compressed file may unpack to, and the size of a file that is read at once.

A few kilobytes can unpack to terabytes. Images, arrays and text shrink by a factor of 1 to 20 when
they are compressed, so a hundred times the size of the file is no data set.
"""

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from imgrec_jax.core.errors import UserError

LEAST_BYTES = 1 << 30
"""Any file may unpack to this size, and be read at once up to it."""

_RATIO = 100
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open,
}  # fmt: skip

_ASKED_FOR: ContextVar[int | None] = ContextVar("_ASKED_FOR", default=None)


@contextmanager
def limited(gigabytes: float) -> Iterator[None]:
    """Set the limit within a context in which sources are opened; -1 leaves it automatic."""
    token = _ASKED_FOR.set(None if gigabytes == -1 else int(gigabytes * 1e9))
    try:
        yield
    finally:
        _ASKED_FOR.reset(token)


def size_limit(stored: int = 0) -> int:
    """Return how many bytes a file of `stored` bytes may unpack to."""
    if (asked_for := _ASKED_FOR.get()) is not None:
        return asked_for
    return max(LEAST_BYTES, _RATIO * stored)


def check_unpacked(size: int, path: Path) -> None:
    """Raise an error if the contents of a file take more bytes unpacked than they may.

    Raises:
        UserError: they do.
    """
    limit = size_limit(os.path.getsize(path))
    if size > limit:
        raise too_large(path, limit)


def too_large(path: Path, limit: int) -> UserError:
    """Return the error for a file with more than `limit` bytes, unpacked if it is compressed."""
    return UserError(
        f"expected at most {limit:,} bytes in {path}, unpacked if it is compressed, got more; "
        f"try --config.data.file_gb={max(1, 2 * limit // 10**9)} if it is no mistake"
    )


@contextmanager
def unpacking(path: Path) -> Iterator["Bounded"]:
    """Open a file to be read up to its limit; its first bytes tell how to decompress it."""
    with path.open("rb") as file:
        start = file.read(6)
    opener = next((opener for mark, opener in _OPENERS.items() if start.startswith(mark)), open)
    with opener(path, "rb") as unpacked:
        yield Bounded(unpacked, path)


class Bounded(io.RawIOBase):
    """A decompressing file that can be read up to the limit of its path."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__()
        self._file, self._path = file, path
        self._limit = size_limit(os.path.getsize(path))

    def read(self, size: int = -1) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride]
        left = self._limit - self.tell()
        data = self._file.read(left + 1 if size < 0 else min(size, left + 1))
        if len(data) > left:
            raise too_large(self._path, self._limit)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek from the start."""
        del whence
        if offset > self._limit:  # it would decompress all that is before
            raise too_large(self._path, self._limit)
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
