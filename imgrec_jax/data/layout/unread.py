"""Name what is not read: files of other kinds, folders without images, folders a level too high."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.files.folder_tree import is_hidden
from imgrec_jax.data.files.suffixes import SUFFIXES
from imgrec_jax.data.layout.listing import Listing, is_image

_NAMED = 5  # folders of a warning; the others are counted
_LEFTOVERS = frozenset({"thumbs.db", "desktop.ini"})  # of Windows
_DOCUMENTS = (
    *(".csv", ".htm", ".html", ".json", ".jsonl", ".md", ".parquet", ".pdf", ".py", ".rst"),
    *(".tsv", ".txt", ".xml", ".yaml", ".yml"),
)
"""Suffixes of files that describe a data set; only in a class folder they are out of place."""

_logger = logging.getLogger(__name__)


def warn_unread_files(names: Iterable[str], where: str) -> None:
    """Print one warning that counts files which are no images, by folder and suffix.

    Args:
        names: all files; hidden files, images and descriptions are passed over.
        where: the data set's path, for messages.
    """
    others = [name for name in names if not is_image(name) and _suffix(name) not in _DOCUMENTS]
    _warn_of_files(others, where)


def warn_unread_classes(
    listing: Listing, label_names: Sequence[str], tables: Iterable[str], where: str
) -> None:
    """Print a warning for each kind of thing in class folders that is not read.

    These are files that are no images, class folders without images, and class folders whose
    images are all in sub-folders, which may be the classes.

    Args:
        listing: of the folder or archive.
        label_names: the classes; folders with other names are no class folders.
        tables: the tables that are read.
        where: the path of the folder or archive, for messages.
    """
    with_images = {folder for folder, _ in listing.parts()}
    classes = {path for f in with_images if (path := _class_folder(f, label_names))}
    parents = {_parent(path) for path in classes}
    siblings = {
        folder
        for folder in listing.folders
        if folder and _parent(folder) in parents and not any(map(is_hidden, folder.split("/")))
    }
    above = {folder for path in with_images for folder in _above(path)}
    read = set(tables)
    own = [
        name
        for name in listing.others
        if name not in read
        and (siblings & {*_above(_parent(name))} or _suffix(name) not in _DOCUMENTS)
    ]
    _warn_of_files(own, where)
    if empty := sorted(siblings - above):
        _logger.warning(
            "%s: no image in %s: not a class; try adding images or removing the folder",
            where, _listed(empty),
        )  # fmt: skip
    for path in sorted(classes - with_images):
        inner = sorted({f for f in above if _parent(f) == path})
        if len(inner) > 1:
            _logger.warning(
                "%s: the class '%s' has no image itself but %d sub-folders (%s); if these are the "
                "classes, try the path %s",
                where, readable(path), len(inner), _listed([_last(f) for f in inner]),
                os.path.join(where, readable(path)),
            )  # fmt: skip


def _warn_of_files(names: Iterable[str], where: str) -> None:
    names = [name for name in names if not _is_leftover(name)]
    if not names:
        return
    counts = Counter((_suffix(name) or "without suffix", _parent(name) or ".") for name in names)
    shown = [
        f"{count} {suffix} in {readable(folder)}"
        for (suffix, folder), count in counts.most_common(_NAMED)
    ]
    rest = sum(count for _, count in counts.most_common()[_NAMED:])
    _logger.warning(
        "%s: %d files are not read: %s%s; images have the suffixes %s",
        where, len(names), ", ".join(shown), f" and {rest} elsewhere" if rest else "",
        " ".join(SUFFIXES),
    )  # fmt: skip


def _class_folder(folder: str, label_names: Sequence[str]) -> str:
    """Return the shortest start of a path that ends in the name of a class, or ""."""
    return next((f for f in reversed(_above(folder)) if readable(_last(f)) in label_names), "")


def _above(folder: str) -> list[str]:
    """Return a folder and the folders above it, the longest first, without the top."""
    found = []
    while folder:
        found.append(folder)
        folder = _parent(folder)
    return found


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _suffix(name: str) -> str:
    return os.path.splitext(_last(name))[1].lower()


def _is_leftover(name: str) -> bool:
    return any(map(is_hidden, name.split("/"))) or _last(name).lower() in _LEFTOVERS


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(readable(name) for name in names[:_NAMED]) + more
