"""Index ImageNet's tars in bulk, including tars inside a tar."""

import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import unreadable
from imgrec_jax.data.files.archive import MAX_MEMBER_BYTES, Member, readable
from imgrec_jax.data.files.archive_index import ArchiveImages
from imgrec_jax.data.files.index_cache import index_key
from imgrec_jax.data.layout.listing import is_image

_THREADS = 16  # they wait for the disk, not for the CPU


def index_tar(path: Path) -> ArchiveImages:
    """Return the images of a tar, sorted by name; the index is cached.

    Raises:
        UserError: the tar is damaged, truncated or compressed.
    """
    return _kept(path, "tar", lambda file: list(_members(file, path, 0, _size(file))))


def index_tar_of_tars(path: Path) -> ArchiveImages:
    """Return the images of all tars in a tar, sorted by name: `TAR/FILE` without the `.tar`.

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


def _kept(path: Path, kind: str, make: Callable[[int], list[Member]]) -> ArchiveImages:
    """Return the index from the cache, or build it from the open file and cache it."""
    try:
        status = path.stat()
        key = index_key(kind, os.path.realpath(path), status.st_size, status.st_mtime_ns)
        if kept := ArchiveImages.kept(path, key):
            return kept
        file = os.open(path, os.O_RDONLY)
        try:
            members = sorted(m for m in make(file) if is_image(m.name))
        finally:
            os.close(file)
    except OSError as error:
        raise unreadable(path, error) from error
    found = ArchiveImages.of(path, members)
    found.keep(key)
    return found


def _members(file: int, path: Path, start: int, stop: int) -> Iterator[Member]:
    """Yield the regular files of the tar that lies between two offsets of a file.

    One header is read for each member (POSIX 1003.1, ustar). Extra headers for long names are
    refused: the sets that are read in this way have none.
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
