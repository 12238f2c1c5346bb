"""Read CIFAR-10 and CIFAR-100 from the official binary archives.

A record is the label (CIFAR-100: coarse label, then fine label), one byte each, and 3072 bytes
of image: the red, green and blue planes, each 32x32 in row-major order.
Format: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.cache.decoded import cached, content_key
from imgrec_jax.data.files.archive import entries
from imgrec_jax.data.sources.source import ArraySource, Splits

CIFAR10_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_FOLDER = "cifar-10-batches-bin"

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """The differences between the two archives."""

    kind: str
    archive: str
    folder: str
    splits: dict[str, tuple[str, ...]]
    names_file: str
    classes: int
    label_bytes: int


_CIFAR10 = _Layout(
    kind="cifar10",
    archive=CIFAR10_ARCHIVE,
    folder=CIFAR10_FOLDER,
    splits={
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    names_file="batches.meta.txt",
    classes=10,
    label_bytes=1,
)
_CIFAR100 = _Layout(
    kind="cifar100",
    archive="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    splits={"train": ("train.bin",), "test": ("test.bin",)},
    names_file="fine_label_names.txt",
    classes=100,
    label_bytes=2,
)


def open_cifar10(where: str) -> Splits:
    """Return CIFAR-10 as `train` and `test`, uint8[32, 32, 3], in the order of the files.

    Args:
        where: `cifar-10-binary.tar.gz`, its unpacked folder `cifar-10-batches-bin`, or a folder
            that holds either.

    Raises:
        UserError: there is no such archive, or it is damaged.
    """
    return _open(where, _CIFAR10)


def open_cifar100(where: str) -> Splits:
    """Return CIFAR-100 with its 100 fine labels as `train` and `test`, uint8[32, 32, 3].

    Args:
        where: `cifar-100-binary.tar.gz`, its unpacked folder `cifar-100-binary`, or a folder
            that holds either.

    Raises:
        UserError: there is no such archive, or it is damaged.
    """
    return _open(where, _CIFAR100)


def find_cifar10_binary(folder: Path) -> Path | None:
    """Return the official CIFAR-10 binary archive or its unpacked folder in `folder`, if any."""
    return _find(folder, _CIFAR10)


def read_cifar10(found: Path) -> dict[str, ArraySource]:
    """Read the archive or folder that `find_cifar10_binary` found, without the cache.

    Raises:
        UserError: the archive is damaged.
    """
    return _read(found, _CIFAR10)


def from_planes(
    files: list[tuple[np.ndarray, np.ndarray]], label_names: tuple[str, ...]
) -> ArraySource:
    """Join files of (uint8[n, 3072] in planes, [n] labels) into uint8[n, 32, 32, 3] images."""
    planes, labels = zip(*files, strict=True)
    images = np.concatenate(planes).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ArraySource(
        np.ascontiguousarray(images), np.concatenate(labels).astype(np.int32), label_names
    )


def _open(where: str, layout: _Layout) -> Splits:
    place = Path(where).expanduser()
    found = place if place.is_file() else _find(place, layout)
    if found is None:
        raise UserError(
            f"expected {layout.archive}, or {layout.folder} that it unpacks to, at '{where}', "
            f"got neither; try {layout.kind}:PATH with the path of one of them"
        )
    try:
        key = content_key([found], layout.kind)
    except OSError as error:
        raise _damaged(found, "a readable archive", error) from error
    return {**cached(key, lambda: _read(found, layout))}


def _find(place: Path, layout: _Layout) -> Path | None:
    """Return the unpacked folder, which reads faster, or else the archive."""
    for folder in (place, place / layout.folder):
        if (folder / layout.splits["test"][0]).is_file():
            return folder
    archive = place / layout.archive
    return archive if archive.is_file() else None


def _read(found: Path, layout: _Layout) -> dict[str, ArraySource]:
    requested = [layout.names_file, *(name for names in layout.splits.values() for name in names)]
    if found.is_dir():
        files = _read_folder(found, requested)
    else:
        members = {f"{layout.folder}/{name}": name for name in requested}
        files = {members[entry]: read() for entry, read in entries(found) if entry in members}
    for name in requested:
        if name not in files:
            raise _damaged(found, f"a file {name}", "none")
    label_names = tuple(
        decode_text(files[layout.names_file], str(found / layout.names_file)).split()
    )
    if len(label_names) != layout.classes:
        names_path = found / layout.names_file
        raise _damaged(names_path, f"{layout.classes} label names", len(label_names))
    return {
        split: from_planes(
            [_parse(files[name], found / name, layout) for name in names], label_names
        )
        for split, names in layout.splits.items()
    }


def _read_folder(folder: Path, requested: list[str]) -> dict[str, bytes]:
    try:
        return {
            name: (folder / name).read_bytes() for name in requested if (folder / name).is_file()
        }
    except OSError as error:
        raise _damaged(folder, "readable files", error) from error


def _parse(data: bytes, path: Path, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes, uint8[n, 3072], and labels of one file; its size determines n."""
    width = layout.label_bytes + _PIXELS
    if not data or len(data) % width:
        raise _damaged(path, f"a multiple of {width} bytes", len(data))
    records = np.frombuffer(data, np.uint8).reshape(-1, width)
    labels = records[:, layout.label_bytes - 1]  # the fine label is the last one
    if labels.max() >= layout.classes:
        raise _damaged(path, f"labels below {layout.classes}", labels.max())
    return records[:, layout.label_bytes :], labels


def _damaged(path: Path, expected: str, got: object) -> UserError:
    return UserError(f"{path}: expected {expected}, got {got}; try to fetch the archive again")
