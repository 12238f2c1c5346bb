"""List and clear the cache folder."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.cache_folder import cache_dir
from imgrec_jax.core.errors import UserError

_NAMED_CLASSES = 4


class Entry(NamedTuple):
    """One cache entry that can be removed on its own.

    Attributes:
        path: a folder, a file or a link below the cache folder.
        what: a description for users.
        size: in bytes; 0 for a link, which is never followed.
        used: when it was last used or changed, in seconds since 1970.
    """

    path: Path
    what: str
    size: int
    used: float


def cache_home() -> Path:
    """Return the cache folder.

    Raises:
        UserError: there is none because the user has no home directory.
    """
    try:
        return cache_dir()
    except RuntimeError as error:
        raise UserError(
            f"expected a cache folder, got none ({error}); try IMGREC_JAX_CACHE=FOLDER"
        ) from error


def list_cache() -> list[Entry]:
    """Return the entries of the cache, largest first; files of other programs are left out."""
    home = cache_home()
    found = [_decoded(path) for path in _children(home / "decoded")]
    found += [_folder(path, what) for path, what in _whole_folders(home)]
    return sorted(found, key=lambda entry: (-entry.size, entry.path))


def clear_cache(entries: list[Entry]) -> int:
    """Remove entries of `list_cache` and return the number of bytes freed.

    A link is removed itself; its target stays.

    Raises:
        UserError: an entry cannot be removed.
    """
    home = cache_home()
    for entry in entries:
        if home not in entry.path.parents:
            raise UserError(
                f"expected something in the cache {home} to remove, got {entry.path}; "
                "try removing it by hand"
            )
        try:
            if entry.path.is_dir() and not entry.path.is_symlink():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"expected to remove {entry.path}, got {error.strerror or error}; "
                "try changing its permissions"
            ) from error
    return sum(entry.size for entry in entries)


def _whole_folders(home: Path) -> Iterator[tuple[Path, str]]:
    """Yield folders that are one entry each; `decoded` only if it is a link."""
    if (home / "decoded").is_symlink():
        yield home / "decoded", "decoded images"
    for name, what in (("compiled", "compiled programs"), ("index", "lists of images")):
        if os.path.lexists(home / name):
            yield home / name, what


def _children(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"expected a readable cache, got {folder}: {error.strerror}; "
            "try changing its permissions, or IMGREC_JAX_CACHE=FOLDER"
        ) from error


def _folder(path: Path, what: str) -> Entry:
    if path.is_symlink():
        return Entry(path, f"a link to {os.readlink(path)} ({what})", 0, path.lstat().st_mtime)
    statuses = [path.lstat()]
    for folder, _, files in os.walk(path):
        statuses += [os.lstat(os.path.join(folder, name)) for name in files]
    return Entry(
        path, what, sum(s.st_size for s in statuses[1:]), max(s.st_mtime for s in statuses)
    )


def _decoded(path: Path) -> Entry:
    unfinished = path.name.startswith(".draft-")
    what = "decoded images, unfinished" if unfinished else f"decoded images{_describe(path)}"
    return _folder(path, what)


def _describe(entry: Path) -> str:
    """Return ": 60,000 of 32x32 in 10 classes (airplane, ...)", or "" if that is unknown."""
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        names = meta["label_names"]
        arrays = [
            np.load(entry / f"{split}_images.npy", mmap_mode="r", allow_pickle=False)
            for split in meta["checksums"]
        ]
        images = sum(len(array) for array in arrays)
        _, height, width, _ = arrays[0].shape
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError):
        return ""
    some = ", ".join(names[:_NAMED_CLASSES]) + (", ..." if len(names) > _NAMED_CLASSES else "")
    if not height * width:
        return f": labels of {images:,} in {len(names):,} classes ({some})"
    return f": {images:,} of {width}x{height} in {len(names):,} classes ({some})"
