"""Index a zip or an uncompressed tar for random access to its files."""

import functools
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import archive
from imgrec_jax.data.files.access import full_name, unreadable
from imgrec_jax.data.files.archive import MAX_MEMBER_BYTES, Member, readable
from imgrec_jax.data.files.index_cache import index_key, keep_index, load_index
from imgrec_jax.data.files.name_table import Names

_KEPT_FROM = 20_000  # files; shorter indices are built faster than loaded


@dataclass(frozen=True)
class ArchiveImages:
    """Encoded images in one archive.

    Attributes:
        path: the archive.
        names: the names of the images in it.
        places: int64[n, 4], the fields of each `archive.Member` besides its name.
    """

    path: Path
    names: Names
    places: np.ndarray

    @classmethod
    def of(cls, path: Path, members: Sequence[Member]) -> "ArchiveImages":
        """Return the images that are members of an archive."""
        places = np.array([member[1:] for member in members], np.int64).reshape(-1, 4)
        return cls(path, Names.of(member.name for member in members), places)

    @classmethod
    def kept(cls, path: Path, key: str) -> "ArchiveImages | None":
        """Return the images cached under a key; None if there are none."""
        if found := load_index(key):
            return cls(path, Names(found["text"], found["ends"]), found["places"])
        return None

    def keep(self, key: str) -> None:
        """Store this in the cache."""
        keep_index(key, {"text": self.names.text, "ends": self.names.ends, "places": self.places})

    def take(self, names: Names) -> "ArchiveImages":
        """Return the files of these names; the later of two with the same name, as in unpacking.

        Raises:
            UserError: a file does not exist.
        """
        row_of = {name: row for row, name in enumerate(self.names)}
        try:
            rows = np.array([row_of[name] for name in names], np.int64)
        except KeyError as error:
            raise UserError(
                f"expected the image {full_name(self.path, error.args[0])}, got none; "
                "try another copy"
            ) from error
        return ArchiveImages(self.path, names, self.places[rows])

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return f"{self.path}: {readable(self.names[row])}"

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [self._read(row) for row in rows]

    def _read(self, row: int) -> bytes:
        offset, size, deflated, checksum = self.places[row].tolist()
        # Opened each time: that takes a hundredth of the time of decoding an image, and leaves no
        # open file to share between threads or processes.
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(data) < size:
            raise self._damaged(row, "its end is missing")
        if deflated:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_MEMBER_BYTES)
            except zlib.error as error:
                raise self._damaged(row, str(error)) from error
        if checksum >= 0 and zlib.crc32(data) != checksum:
            raise self._damaged(row, "its checksum is another")
        return data

    def _damaged(self, row: int, why: str) -> UserError:
        return UserError(
            f"expected an intact file in the archive, got {self.name(row)}: {why}; "
            "try copying or downloading it again"
        )


def index_archive(path: Path) -> ArchiveImages | None:
    """Return all files of an archive; None if it has no random access (see `archive.members`).

    A long index is cached.

    Raises:
        UserError: the archive is damaged.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return _index(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4)  # opening a source requests the listing, the names and the files
def _index(path: Path, size: int, changed: int) -> ArchiveImages | None:
    key = index_key("archive", os.path.realpath(path), size, changed)
    if kept := ArchiveImages.kept(path, key):
        return kept
    members = archive.members(path)
    if members is None:
        return None
    found = ArchiveImages.of(path, members)
    if len(found) >= _KEPT_FROM:
        found.keep(key)
    return found


def compressed(path: Path, limit: int) -> UserError:
    """Return the error for an archive whose images cannot be decoded on demand."""
    return UserError(
        "expected a folder, a .zip or an uncompressed .tar of images that are decoded as they "
        f"are used (for data.crop, data.broken, or more than {limit:,} bytes), got {path}; "
        "try unpacking it"
    )
