"""List the images of a folder or archive, and cache the list.

The list of a large folder is cached with the modification time and inode number of every folder
in it, since adding, removing or renaming a file changes its folder's time. So the second listing
of a million images in a thousand folders needs only a thousand `stat` calls.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import archive, folder_tree
from imgrec_jax.data.files.access import unreadable
from imgrec_jax.data.files.archive_index import index_archive
from imgrec_jax.data.files.folder_tree import is_hidden, stamp
from imgrec_jax.data.files.index_cache import index_key, keep_index, load_index
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.files.suffixes import HEIC_REMEDY, HEIC_SUFFIXES, SUFFIXES

KEPT_FROM = 20_000
"""Lists of this many images are cached; shorter ones are built faster than loaded."""

_TABLES = (".csv", ".txt")
_FIELDS = ("folders", "names", "tables", "others")  # of a listing, all `Names`
_SETTLED_NS = 2_000_000_000  # a folder changed just now may change again in the same clock tick

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The images of a folder or archive, folder by folder.

    Attributes:
        folders: the names of all folders, sorted, with "/" between their parts; "" is the top.
        counts: int64[k], number of images directly in each.
        names: the images, folder by folder and sorted within each.
        tables: the CSV and text files at the top and one level below.
        others: all other files, the tables among them.
    """

    folders: Names
    counts: np.ndarray
    names: Names
    tables: Names
    others: Names

    def parts(self) -> Iterator[tuple[str, Names]]:
        """Yield the folders with images, and their images."""
        stops = np.cumsum(self.counts)
        for row in np.flatnonzero(self.counts):
            yield self.folders[int(row)], self.names[stops[row] - self.counts[row] : stops[row]]


def is_image(name: str) -> bool:
    """Return whether a name is an image's: not a hidden file or a leftover of macOS or Windows."""
    parts = name.split("/")
    if any(map(is_hidden, parts)):
        return False
    stem, dot, suffix = parts[-1].rpartition(".")
    return bool(stem) and (dot + suffix).lower() in SUFFIXES


def list_images(root: Path) -> Listing:
    """List the contents of a folder or archive.

    `folder_tree` says what is followed and skipped in a folder.

    Raises:
        UserError: a folder, or the archive, cannot be read; there are HEIC images.
    """
    if not root.is_dir():
        index = index_archive(root)
        return listing_of(index.names if index else (name for name, _ in archive.entries(root)))
    key = index_key("folder", os.path.realpath(root))
    if (kept := load_index(key)) and _is_current(root, kept):
        listing = _unpack(kept)
        _logger.info("%s: %d images, listed before", root, len(listing.names))
        return listing
    started = time.time_ns()
    try:
        tree = folder_tree.walk(root)
    except OSError as error:
        raise unreadable(root, error) from error
    builder = _Builder()
    for folder in tree.folders:
        builder.add(folder.name, folder.files)
    listing = builder.finish()
    stamps = np.array([folder.stamp for folder in tree.folders], np.uint64)
    if len(listing.names) >= KEPT_FROM and _settled(stamps, started) and not tree.skipped:
        keep_index(key, {"stamps": stamps, **_pack(listing)})
    return listing


def listing_of(names: Iterable[str]) -> Listing:
    """Return the listing of files with known names."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        by_folder.setdefault(folder, []).append(file)
    builder = _Builder()
    for folder in sorted(by_folder):
        builder.add(folder, sorted(set(by_folder[folder])))
    return builder.finish()


class _Builder:
    """Sort files into images, tables and others, folder by folder."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._parts: list[Names] = []
        self._tables: list[str] = []
        self._others: list[str] = []

    def add(self, folder: str, files: list[str]) -> None:
        """Add the sorted files of a folder."""
        before = f"{folder}/" if folder else ""
        hidden = bool(folder) and any(map(is_hidden, folder.split("/")))
        images = [] if hidden else [name for name in files if is_image(name)]
        for name in [] if hidden else files:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in HEIC_SUFFIXES and not is_hidden(name):
                raise UserError(
                    f"expected images ({' '.join(SUFFIXES)}), got '{archive.readable(before)}"
                    f"{archive.readable(name)}', which is HEIC or AVIF; try {HEIC_REMEDY}"
                )
            if suffix in _TABLES and folder.count("/") == 0 and not is_hidden(name):
                self._tables.append(before + name)
        self._folders.append(folder)
        self._parts.append(Names.of([before + name for name in images]))
        chosen = set(images)
        self._others += [before + name for name in files if name not in chosen]

    def finish(self) -> Listing:
        return Listing(
            folders=Names.of(self._folders),
            counts=np.array([len(part) for part in self._parts], np.int64),
            names=Names.joined(self._parts),
            tables=Names.of(self._tables),
            others=Names.of(self._others),
        )


def _settled(stamps: np.ndarray, started: int) -> bool:
    """Return whether every folder has a modification time well in the past."""
    times = stamps[:, 0].astype(np.int64)
    return bool(times.min() > 0 and times.max() < started - _SETTLED_NS)


def _is_current(root: Path, kept: dict[str, np.ndarray]) -> bool:
    """Return whether all folders of a cached listing exist and are unchanged."""
    folders = Names(kept["folders_text"], kept["folders_ends"])
    try:
        stamps = [
            stamp(os.path.join(root, os.fsdecode(folders.encoded(row))) if row else root)
            for row in range(len(folders))
        ]
    except OSError:
        return False
    return np.array_equal(np.array(stamps, np.uint64), kept["stamps"])


def _pack(listing: Listing) -> dict[str, np.ndarray]:
    arrays = {"counts": listing.counts}
    for field in _FIELDS:
        names: Names = getattr(listing, field)
        arrays |= {f"{field}_text": names.text, f"{field}_ends": names.ends}
    return arrays


def _unpack(arrays: dict[str, np.ndarray]) -> Listing:
    folders, *others = (
        Names(arrays[f"{field}_text"], arrays[f"{field}_ends"]) for field in _FIELDS
    )
    return Listing(folders, arrays["counts"], *others)
