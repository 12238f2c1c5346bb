"""A data set that is a folder or an archive of pictures, one sub-folder per class."""

import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data import archive
from imgrec_jax.data.cache import cached, content_key
from imgrec_jax.data.decode import decode
from imgrec_jax.data.files import (
    existing_path,
    full_name,
    list_files,
    read_file,
    read_files,
    unreadable,
)
from imgrec_jax.data.layout import SPLITS, Layout, arrange
from imgrec_jax.data.source import ArraySource, Example, Splits

MAX_DECODED_BYTES = 2 << 30
"""Up to this size a set is decoded once and kept; above, pictures are decoded as they are used."""

_PARCEL_BYTES = 256 << 10  # of files, decoded in one go by one thread


@dataclass(frozen=True)
class FolderSource:
    """A folder of pictures that are decoded, by several threads, each time they are asked for.

    Attributes:
        root: the folder.
        names: the pictures' paths in it, with "/" between their parts.
        labels: int32[n], the class of each.
        label_names: the class names.
        image_shape: what all pictures must decode to.
        image_size: as in `open_folder`.
    """

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    image_size: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> Example:
        path = self.root / self.names[row]
        image = decode(read_file(path), str(path), image_size=self.image_size)
        if image.shape != self.image_shape:
            raise _sizes_differ(
                "the first training picture", self.image_shape, str(path), image.shape
            )
        return {"image": image, "label": self.labels[row]}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        with ThreadPoolExecutor(_threads()) as pool:
            return list(pool.map(self.__getitem__, rows))


def open_folder(where: str, *, image_size: int = 0) -> Splits:
    """Open class folders of pictures, with split folders above them or all of them "train".

    The pictures lie in a folder, in one archive, or in one archive per split inside a folder;
    `layout` says which folders are splits and classes, `decode` what becomes of the pictures.
    Rows are sorted by class and then by name. A folder whose pictures take more than 2 GiB
    decoded gives sources that decode on demand; all else is decoded once and cached.

    Args:
        where: path of a folder or archive; `~` is the home directory.
        image_size: 0 if all pictures have one size; s to make each s by s (see `decode.fit`).

    Raises:
        UsageError: no such path; pictures of several sizes and no image_size; an impossible one.
        UserError: what is there is not such a data set, is damaged, or cannot be read.
    """
    path = existing_path(where, "folder")
    try:
        roots = _find_roots(path)
        if path.is_dir() and "" in roots and (sources := _open_lazily(path, image_size)):
            return sources
        key = content_key(roots.values(), "folder", tuple(roots), image_size)
    except OSError as error:
        raise unreadable(path, error) from error
    return {**cached(key, lambda: _decode_all(roots, path, image_size))}


def _find_roots(path: Path) -> dict[str, Path]:
    """Return the folder or archive of each split, or of "" if one holds the whole data set."""
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
        stem, suffix = archive.split_suffix(child)
        split = SPLITS.get(stem.lower())
        if split and suffix:
            if split in archives:
                raise UserError(
                    f"expected one archive per split in {path}, got {archives[split].name} and "
                    f"{child.name}; try moving one of them away"
                )
            archives[split] = child
        elif split and child.is_dir():
            folders.add(split)
    if archives.keys() <= folders:  # none, or their unpacked folders lie beside them
        return {"": path}
    if folders:
        raise UserError(
            f"expected either split folders or split archives in {path}, got the folder of "
            f"'{min(folders)}' and {archives[min(archives.keys() - folders)].name}; "
            "try unpacking the archive"
        )
    return archives


def _open_lazily(path: Path, image_size: int) -> Splits | None:
    """Return sources that decode on demand, or None if the decoded pictures fit in memory."""
    layout = arrange({"": list_files(path)}, str(path))
    first = path / layout.names["train"][0]
    shape = decode(read_file(first), str(first), image_size=image_size).shape
    if _decoded_bytes(layout, shape) <= MAX_DECODED_BYTES:
        return None
    return {
        split: FolderSource(
            path, names, layout.labels[split], layout.label_names, shape, image_size
        )
        for split, names in layout.names.items()
    }


def _decode_all(roots: dict[str, Path], where: Path, image_size: int) -> dict[str, ArraySource]:
    layout = arrange({split: list_files(root) for split, root in roots.items()}, str(where))
    images: dict[str, np.ndarray] = {}
    first, shape = "", ()
    for root_split, root in roots.items():
        rows = {
            name: (split, row)
            for split, names in layout.names.items()
            if root_split in ("", split)
            for row, name in enumerate(names)
        }
        for name, image in _decode_files(root, rows, image_size):
            if not images:
                first, shape = full_name(root, name), image.shape
                images = _allocate(layout, shape, where)
            if image.shape != shape:
                raise _sizes_differ(first, shape, full_name(root, name), image.shape)
            split, row = rows[name]
            images[split][row] = image
    return {
        split: ArraySource(images[split], layout.labels[split], layout.label_names)
        for split in layout.names
    }


def _allocate(layout: Layout, shape: tuple[int, ...], where: Path) -> dict[str, np.ndarray]:
    size = _decoded_bytes(layout, shape)
    if size > MAX_DECODED_BYTES:
        raise UserError(
            f"expected an archive of at most {MAX_DECODED_BYTES:,} bytes of decoded pictures, got "
            f"{size:,} in {where}; try unpacking it and --config.data.source=folder:FOLDER"
        )
    return {
        split: np.empty((len(names), *shape), np.uint8) for split, names in layout.names.items()
    }


def _decoded_bytes(layout: Layout, shape: tuple[int, ...]) -> int:
    return len(layout) * int(np.prod(shape, dtype=np.int64))


def _decode_files(
    root: Path, wanted: Collection[str], image_size: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the wanted pictures in the order in which they are read, decoded by several threads."""

    def decode_parcel(parcel: list[tuple[str, bytes]]) -> list[tuple[str, np.ndarray]]:
        return [
            (name, decode(data, full_name(root, name), image_size=image_size))
            for name, data in parcel
        ]

    pending: deque[Future[list[tuple[str, np.ndarray]]]] = deque()
    with ThreadPoolExecutor(_threads()) as pool:
        for parcel in _parcels(read_files(root, wanted)):
            pending.append(pool.submit(decode_parcel, parcel))
            if len(pending) > _threads():
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _parcels(files: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Group files so that each task of a thread outweighs the cost of starting it."""
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


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _sizes_differ(
    first: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> UsageError:
    return UsageError(
        f"expected pictures of one size, got {shape[1]}x{shape[0]} in {first} and "
        f"{other_shape[1]}x{other_shape[0]} in {other}; "
        f"try --config.data.image_size={min(shape[:2])}, which makes all of them square"
    )
