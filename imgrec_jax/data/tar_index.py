"""Where the files lie in an uncompressed tar, so that each can be read without the others."""

import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.archive import MAX_MEMBER_BYTES, readable
from imgrec_jax.data.files import unreadable
from imgrec_jax.data.index import index_key, keep_index, load_index
from imgrec_jax.data.listing import is_picture
from imgrec_jax.data.names import Names

_THREADS = 16  # they wait for the disk, not for each other


class Member(NamedTuple):
    """A file in a tar: its name, where its contents start, and how long they are, in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarPictures:
    """Encoded pictures in one tar file.

    Attributes:
        path: the tar.
        names: what the pictures are called in it.
        offsets, sizes: int64[n], where each is.
    """

    path: Path
    names: Names
    offsets: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return f"{self.path}: {readable(self.names[row])}"

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [self._read(int(self.offsets[row]), int(self.sizes[row])) for row in rows]

    def _read(self, offset: int, size: int) -> bytes:
        # Opened each time: that takes a hundredth of the time of decoding a picture, and leaves
        # nothing open that threads or processes would have to share.
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(data) < size:
            raise _damaged(self.path, "its end is missing")
        return data


def index_tar(path: Path) -> TarPictures:
    """Return the pictures of a tar, sorted by name; the index is kept in the cache.

    Raises:
        UserError: it is damaged, truncated or compressed.
    """
    return _kept(path, "tar", lambda file: list(_members(file, path, 0, _size(file))))


def index_tar_of_tars(path: Path) -> TarPictures:
    """Return the pictures of all tars in a tar, sorted by name: `TAR/FILE` without the `.tar`.

    Raises:
        UserError: as `index_tar` does.
    """

    def index(file: int) -> list[Member]:
        outer = list(_members(file, path, 0, _size(file)))
        with ThreadPoolExecutor(_THREADS) as pool:
            parts = pool.map(
                lambda tar: list(_members(file, path, tar.offset, tar.offset + tar.size)), outer
            )
            return [
                member._replace(name=f"{tar.name.removesuffix('.tar')}/{member.name}")
                for tar, members in zip(outer, parts, strict=True)
                for member in members
            ]

    return _kept(path, "tar of tars", index)


def _kept(path: Path, kind: str, make: Callable[[int], list[Member]]) -> TarPictures:
    """Return the index from the cache, or make it of the open file and keep it."""
    try:
        status = path.stat()
        key = index_key(kind, os.path.realpath(path), status.st_size, status.st_mtime_ns)
        arrays = load_index(key)
        if arrays is None:
            file = os.open(path, os.O_RDONLY)
            try:
                members = sorted(m for m in make(file) if is_picture(m.name))
            finally:
                os.close(file)
            names = Names.of(member.name for member in members)
            arrays = {
                "text": names.text,
                "ends": names.ends,
                "offsets": np.array([member.offset for member in members], np.int64),
                "sizes": np.array([member.size for member in members], np.int64),
            }
            keep_index(key, arrays)
    except OSError as error:
        raise unreadable(path, error) from error
    names = Names(arrays["text"], arrays["ends"])
    return TarPictures(path, names, arrays["offsets"], arrays["sizes"])


def _members(file: int, path: Path, start: int, stop: int) -> Iterator[Member]:
    """Yield the regular files of the tar that lies between two offsets of a file.

    One header is read for each member (POSIX 1003.1, ustar); what archivers put before a member
    with a long name is refused: the sets that are read in this way have none.
    """
    while True:
        header = os.pread(file, tarfile.BLOCKSIZE, start) if start < stop else b""
        if header == tarfile.NUL * tarfile.BLOCKSIZE:
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _damaged(path, str(error) or "its end is missing") from error
        offset = start + tarfile.BLOCKSIZE
        if info.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE):
            raise _damaged(path, f"'{readable(info.name)}' is no plain file of the format ustar")
        if info.isreg():
            nested = info.name.endswith(".tar")
            if offset + info.size > stop or (info.size > MAX_MEMBER_BYTES and not nested):
                raise _damaged(path, f"'{readable(info.name)}' claims {info.size:,} bytes")
            yield Member(info.name.removeprefix("./"), offset, info.size)
        start = offset + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _size(file: int) -> int:
    return os.fstat(file).st_size


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"expected an intact, uncompressed .tar archive, got {path}: {why}; "
        "try copying or downloading it again, or unpacking it"
    )
