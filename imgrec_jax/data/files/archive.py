"""Read files inside tar and zip archives in memory, without unpacking to disk."""

import contextlib
import functools
import lzma
import re
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.name_encodings import decode_names, decode_zip_names
from imgrec_jax.data.files.size_limit import check_unpacked, unpacking
from imgrec_jax.data.files.skipped import warn_skipped

SUFFIXES = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".zip")

MAX_MEMBER_BYTES = 1 << 30

_LOCAL_HEADER = 30  # bytes of a zip member's header before the name and the extra field
_LOCKED = 1  # flag of a zip member with a password

_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,  # zipfile: a password is needed, or the compression is unknown
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    lzma.LZMAError,
)


def split_suffix(path: Path) -> tuple[str, str]:
    """Return ("train", ".tar.xz") for `a/train.tar.xz`; the suffix is "" if not an archive's."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)], suffix
    return path.name, ""


def entries(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield every regular file of an archive: its name, and a function that reads it.

    The function is valid until the next file is requested, so that a compressed tar is read once,
    sequentially. Names are relative, with "/" between their parts. Folders are skipped, and links
    and devices, which one warning names.

    Raises:
        UserError: (also from the function) the archive is damaged, truncated or needs a
            password; a name points outside the archive; a file claims more than 1 GiB; all of
            it unpacks to more than `size_limit` allows.
    """
    open_entries = _zip_entries if split_suffix(path)[1] == ".zip" else _tar_entries
    with _as_user_errors(path):
        for name, read in open_entries(path):
            yield name, functools.partial(_read, read, path)


class Member(NamedTuple):
    """A file in an archive: its name, and the offset and size in bytes of its contents.

    A zip also has their CRC-32 and may have deflated them.
    """

    name: str
    offset: int
    size: int
    deflated: bool = False
    checksum: int = -1


def members(path: Path) -> list[Member] | None:
    """Return every regular file of an archive with random access.

    None for all other archives: tars that are compressed as a whole or hold sparse files, zips
    with a password or a compression other than deflate.

    Raises:
        UserError: as `entries` does.
    """
    find = _zip_members if split_suffix(path)[1] == ".zip" else _tar_members
    with _as_user_errors(path):
        return find(path)


def _tar_members(path: Path) -> list[Member] | None:
    try:
        tarfile.open(path, "r:").close()
    except tarfile.ReadError:  # compressed or damaged: `entries` finds out which
        return None
    with tarfile.open(path, "r:", encoding="utf-8") as tar:
        found = list(_tar_files(tar, path))
        if any(member.issparse() for _, member in found):
            return None
        return [Member(name, member.offset_data, member.size) for name, member in found]


def _zip_members(path: Path) -> list[Member] | None:
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    found = []
    with zipfile.ZipFile(path) as file, path.open("rb") as raw:
        for name, member in _zip_files(file, path):
            if member.compress_type not in kinds or member.flag_bits & _LOCKED:
                return None
            raw.seek(member.header_offset)
            header = raw.read(_LOCAL_HEADER)
            if header[:4] != b"PK\3\4":
                raise zipfile.BadZipFile(f"'{readable(name)}' is not where it should be")
            start = member.header_offset + _LOCAL_HEADER + sum(struct.unpack("<2H", header[26:]))
            deflated = member.compress_type == zipfile.ZIP_DEFLATED
            found.append(Member(name, start, member.compress_size, deflated, member.CRC))
    return found


def readable(name: str) -> str:
    """Return a file name as text that can be printed, as `readable_all` does."""
    return readable_all([name])[name]


def readable_all(names: Iterable[str]) -> dict[str, str]:
    r"""Map file names to printable text.

    Accents are composed (NFC), so that the same class from a Mac and from Linux is one class.
    """
    raw = {name: name.encode("utf-8", "surrogateescape") for name in names}
    decoded = decode_names(raw)
    return {name: unicodedata.normalize("NFC", text) for name, text in decoded.items()}


def _read(read: Callable[[], bytes], path: Path) -> bytes:
    with _as_user_errors(path):
        return read()


def _tar_entries(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with unpacking(path) as file, tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as tar:
        for name, member in _tar_files(tar, path):
            content = tar.extractfile(member)
            assert content is not None  # it is a regular file
            yield name, content.read


def _tar_files(tar: tarfile.TarFile, path: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the regular files, and raise an error if the tar does not end properly."""
    skipped, size = [], 0
    for member in tar:
        name = _inside(member.name, path)
        if member.isfile():
            _check_claim(member.size, name, path)
            size += member.size  # a sparse file is larger than its part of the tar
            check_unpacked(size, path)
            yield name, member
        elif not member.isdir():
            skipped.append(readable(name))
    warn_skipped(path, skipped)
    # tarfile stops without an error at a truncated or damaged header.
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end is missing")
    while tar.fileobj.read(1 << 20):  # the checksum of gzip and xz is at the very end
        pass


def _zip_entries(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with zipfile.ZipFile(path) as file:
        for name, member in _zip_files(file, path):
            yield name, lambda member=member: file.read(member)


def _zip_files(file: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    infos, skipped = file.infolist(), []
    check_unpacked(sum(member.file_size for member in infos), path)
    for member, decoded in zip(infos, decode_zip_names(infos), strict=True):
        name = _inside(decoded, path)
        kind = member.external_attr >> 28  # the file type of Unix, 0 from other systems
        if member.is_dir():
            continue
        if kind in (0, 0o10):
            _check_claim(member.file_size, name, path)
            yield name, member
        else:
            skipped.append(readable(name))
    warn_skipped(path, skipped)


def _inside(name: str, path: Path) -> str:
    """Return the name with "/" between its parts; raise an error if it points outside."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise UserError(
            f"expected names inside the archive, got '{readable(name)}' in {path}, which points "
            "outside of it; try another copy, or unpack it by hand and check what it holds"
        )
    return "/".join(parts)


def _check_claim(size: int, name: str, path: Path) -> None:
    if size > MAX_MEMBER_BYTES:
        raise UserError(
            f"expected files of at most {MAX_MEMBER_BYTES:,} bytes, got '{readable(name)}' in "
            f"{path}, which claims {size:,}; try another copy"
        )


@contextlib.contextmanager
def _as_user_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise UserError(
            f"expected an intact {' or '.join(SUFFIXES)} archive, got {path}: {why}; "
            "try copying or downloading it again"
        ) from error
