"""Read a folder or archive of images, labelled by class folders or by a table."""

from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.cache.decoded import cached, content_key
from imgrec_jax.data.files import archive
from imgrec_jax.data.files.access import (
    existing_path,
    full_name,
    read_files,
    unreadable,
)
from imgrec_jax.data.files.archive_index import compressed, index_archive
from imgrec_jax.data.files.folder_tree import is_hidden
from imgrec_jax.data.images.decode import Form, decode
from imgrec_jax.data.layout.listing import list_images
from imgrec_jax.data.layout.name_patterns import number_groups, number_keys, place_by_pattern
from imgrec_jax.data.layout.split_names import split_of
from imgrec_jax.data.layout.splits_and_classes import Layout, arrange
from imgrec_jax.data.layout.tables import Tables, choose_tables, read_tables
from imgrec_jax.data.layout.unread import warn_unread_classes
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import (
    EncodedImages,
    EncodedSource,
    decoded_bytes,
    first_shape,
    image_dtype,
    sizes_differ,
    stored_images,
    thread_count,
)
from imgrec_jax.data.sources.source import ArraySource, Splits

_PARCEL_BYTES = 256 << 10  # of files, decoded together by one thread


@dataclass(frozen=True)
class Labelling:
    """How images get their labels, if not from their folders.

    Attributes:
        label_pattern: a regular expression with a group `label`, searched for in the file's name.
        columns: the headings "IMAGE,LABEL" or "IMAGE,LABEL,SPLIT" of the table.
        group_by: the heading of a column of the table, or a regular expression with one group,
            searched for in the image's path: images of a group stay in one split.
    """

    label_pattern: str = ""
    columns: str = ""
    group_by: str = ""


@dataclass(frozen=True)
class Found:
    """The contents of a folder or archive.

    Attributes:
        roots: the folder or archive of each split, or of all splits under "".
        layout: the images, named relative to their root.
        groups: int32[n] of the training images, as `ArraySource` has them.
    """

    roots: dict[str, Path]
    layout: Layout
    groups: np.ndarray | None

    def root(self, split: str) -> Path:
        """Return the folder or archive of a split's images."""
        return self.roots.get(split) or self.roots[""]


def open_folder(where: str, labelling: Labelling = Labelling(), **form: Unpack[Form]) -> Splits:
    """Open class folders of images, below split folders or all in "train".

    The images are in a folder, in one archive, or in one archive per split inside a folder. See
    `splits_and_classes` for the folders of splits and classes, `tables` for tables instead of
    folders, `decode` for the conversion of images. Rows are sorted by class, folder and name.
    Images that decoded exceed the limit of `memory_limit` give sources that decode on demand (not
    possible for a compressed tar, see `archive.members`); others are decoded once and cached.

    Args:
        where: path of a folder or archive; `~` is the home directory.
        labelling: the origin of labels and groups, if not the folders.
        form: the form to convert images to; without an image_size they must have one size.

    Raises:
        UsageError: no such path; images of several sizes and no image_size; an impossible one.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    path = existing_path(where, "folder")
    try:
        roots = _find_roots(path)
        in_place = all(root.is_dir() or index_archive(root) is not None for root in roots.values())
        found = _find(roots, path, labelling) if in_place or labelling.group_by else None
        if found and (sources := _open_lazily(found, form)):
            return sources
        key = content_key(
            roots.values(), "folder", tuple(roots), sorted(form.items()),
            labelling.label_pattern, labelling.columns,
        )  # fmt: skip
    except OSError as error:
        raise unreadable(path, error) from error
    splits = cached(key, lambda: _decode_all(found or _find(roots, path, labelling), path, form))
    if found and found.groups is not None:
        splits["train"] = replace(splits["train"], groups=found.groups)
    return {**splits}


def find_images(where: str, labelling: Labelling = Labelling()) -> Found:
    """Find the images that `open_folder` would open, without decoding any.

    Raises:
        UsageError, UserError: as in `open_folder`.
    """
    path = existing_path(where, "folder")
    try:
        return _find(_find_roots(path), path, labelling)
    except OSError as error:
        raise unreadable(path, error) from error


def _find_roots(path: Path) -> dict[str, Path]:
    """Return the folder or archive of each split, or that of "" if one holds the whole data set."""
    if not path.is_dir():
        if not archive.split_suffix(path)[1]:
            raise UserError(
                f"expected a folder or an archive ({' '.join(archive.SUFFIXES)}), got {path}, "
                "which is neither; try another path"
            )
        return {"": path}
    folders: set[str] = set()
    archives: dict[str, Path] = {}
    for child in sorted(path.iterdir()):
        if is_hidden(child.name):
            continue
        stem, suffix = archive.split_suffix(child)
        split = split_of(stem)
        if split and suffix and child.is_file():
            if split in archives:
                raise UserError(
                    f"expected one archive per split in {path}, got {archives[split].name} and "
                    f"{child.name}; try moving one of them away"
                )
            archives[split] = child
        elif split and child.is_dir():
            folders.add(split)
    if archives.keys() <= folders:  # none, or their unpacked folders exist beside them
        return {"": path}
    if folders:
        raise UserError(
            f"expected either split folders or split archives in {path}, got the folder of "
            f"'{min(folders)}' and {archives[min(archives.keys() - folders)].name}; "
            "try unpacking the archive"
        )
    return archives


def _find(roots: dict[str, Path], where: Path, labelling: Labelling) -> Found:
    listings = {split: list_images(root) for split, root in roots.items()}
    tables: Tables | None = None
    chosen = choose_tables(listings[""]) if "" in roots else {}
    if chosen:
        tables = read_tables(
            {name: (chosen[name], data) for name, data in read_files(roots[""], chosen)},
            listings[""].names,
            str(where),
            columns=labelling.columns,
            group_by=labelling.group_by,
        )
    elif labelling.columns:
        raise UserError(
            f"expected a table for data.columns at the top of {where}, got none; "
            "try naming it labels.csv"
        )
    correct_place = tables.place if tables else None
    if labelling.label_pattern:
        correct_place = place_by_pattern(labelling.label_pattern, correct_place)
    layout = arrange(listings, str(where), correct_place)
    for split, listing in listings.items():
        warn_unread_classes(listing, layout.label_names, chosen, str(roots[split]))
    groups = None
    if labelling.group_by and "train" in layout.names:
        names = layout.names["train"]
        if tables and tables.has_groups:
            groups = number_keys([tables.entries[name].group or name for name in names])
        else:
            groups = number_groups(names, labelling.group_by)
    return Found(roots, layout, groups)


def _open_lazily(found: Found, form: Form) -> Splits | None:
    """Return sources that decode on demand; None if images fit in memory or it is impossible."""
    layout = found.layout
    images: dict[str, EncodedImages] = {}
    for split, names in layout.names.items():
        stored = stored_images(found.root(split), names)
        if stored is None:
            return None
        images[split] = stored
    shape = first_shape(next(iter(images.values())), form)
    if decoded_bytes(len(layout), shape, form) <= memory_limit.decoded_limit():
        return None
    return {
        split: EncodedSource(
            stored, layout.labels[split], layout.label_names, shape, form,
            found.groups if split == "train" else None,
        )
        for split, stored in images.items()
    }  # fmt: skip


def _decode_all(found: Found, where: Path, form: Form) -> dict[str, ArraySource]:
    layout = found.layout
    images: dict[str, np.ndarray] = {}
    first, shape = "", ()
    for root_split, root in found.roots.items():
        rows = {
            name: (split, row)
            for split, names in layout.names.items()
            if root_split in ("", split)
            for row, name in enumerate(names)
        }
        for name, image in _decode_files(root, rows, form):
            if not images:
                first, shape = full_name(root, name), image.shape
                images = _allocate(layout, shape, where, form)
            if image.shape != shape:
                raise sizes_differ(first, shape, full_name(root, name), image.shape)
            split, row = rows[name]
            images[split][row] = image
    return {
        split: ArraySource(images[split], layout.labels[split], layout.label_names)
        for split in layout.names
    }


def _allocate(
    layout: Layout, shape: tuple[int, ...], where: Path, form: Form
) -> dict[str, np.ndarray]:
    size, limit = decoded_bytes(len(layout), shape, form), memory_limit.decoded_limit()
    if size > limit:
        raise compressed(where, limit)
    return {
        split: np.empty((len(names), *shape), image_dtype(form))
        for split, names in layout.names.items()
    }


def _decode_files(
    root: Path, requested: Collection[str], form: Form
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the wanted images in reading order, decoded by several threads."""

    def decode_parcel(parcel: list[tuple[str, bytes]]) -> list[tuple[str, np.ndarray]]:
        return [(name, decode(data, full_name(root, name), **form)) for name, data in parcel]

    pending: deque[Future[list[tuple[str, np.ndarray]]]] = deque()
    with ThreadPoolExecutor(thread_count()) as pool:
        for parcel in _parcels(read_files(root, requested)):
            pending.append(pool.submit(decode_parcel, parcel))
            if len(pending) > thread_count():
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _parcels(files: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Group files so that each thread task is worth the cost of starting it."""
    parcel: list[tuple[str, bytes]] = []
    size = 0
    for name, data in files:
        parcel.append((name, data))
        size += len(data)
        if size >= _PARCEL_BYTES:
            yield parcel
            parcel, size = [], 0
    if parcel:
        yield parcel
