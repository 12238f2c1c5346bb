"""Data sets whose pictures stay encoded, on the disk, and are decoded when they are asked for."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.archive import readable
from imgrec_jax.data.decode import Form, decode
from imgrec_jax.data.files import file_path, read_file
from imgrec_jax.data.names import Names
from imgrec_jax.data.source import ArraySource, Example

_CHUNK = 1024  # pictures decoded at once on the way into memory
_PARCELS = 4  # for each thread, so that none waits long for another


class EncodedPictures(Protocol):
    """Encoded pictures by row: files of a folder, members of an archive, rows of a table."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """Return what to call a picture in a message."""
        ...

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        """Return pictures as they are stored; rows that rise are read best."""
        ...


@dataclass(frozen=True)
class EncodedSource:
    """A data set that decodes its pictures, by several threads, each time they are asked for.

    It can be sent to another process: it holds paths and lists, no open files.

    Attributes:
        pictures: where the pictures are.
        labels: int32[n], the class of each.
        label_names: the class names.
        image_shape: what all pictures must decode to.
        form: what they are brought to.
        groups: as `ArraySource` has them.
    """

    pictures: EncodedPictures
    labels: np.ndarray
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    form: Form
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Example:
        return self._decode([range(len(self))[row]])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        # In rising order and each once, so that neighbours are read together.
        distinct, position = np.unique(np.asarray(rows, np.int64), return_inverse=True)
        threads = min(thread_count(), len(distinct))
        parcels = [list(map(int, p)) for p in np.array_split(distinct, max(1, threads * _PARCELS))]
        if threads < 2:
            decoded = list(map(self._decode, parcels))
        else:
            with ThreadPoolExecutor(threads) as pool:
                decoded = list(pool.map(self._decode, parcels))
        examples = [example for parcel in decoded for example in parcel]
        return [examples[i] for i in position]

    def _decode(self, rows: Sequence[int]) -> list[Example]:
        return [
            {"image": self._image(row, data), "label": self.labels[row]}
            for row, data in zip(rows, self.pictures.read(rows) if rows else (), strict=True)
        ]

    def _image(self, row: int, data: bytes) -> np.ndarray:
        name = self.pictures.name(row)
        image = decode(data, name, **self.form)
        if image.shape != self.image_shape:
            raise sizes_differ("the first picture", self.image_shape, name, image.shape)
        return image


@dataclass(frozen=True)
class FilePictures:
    """Files of a folder."""

    root: Path
    names: Names

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return str(self.root / readable(self.names[row]))

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [read_file(file_path(self.root, self.names[row])) for row in rows]


def first_shape(pictures: EncodedPictures, form: Form) -> tuple[int, int, int]:
    """Return the shape [h, w, c] that the first picture decodes to."""
    shape = decode(pictures.read([0])[0], pictures.name(0), **form).shape
    return shape  # pyright: ignore[reportReturnType]


def decoded_bytes(pictures: int, shape: tuple[int, ...], form: Form) -> int:
    """Return the memory that so many decoded pictures take."""
    return pictures * int(np.prod(shape, dtype=np.int64)) * image_dtype(form).itemsize


def image_dtype(form: Form) -> np.dtype:
    """Return the type of the pixels that a form asks for."""
    return np.dtype(form.get("dtype", "uint8"))


def load(source: EncodedSource) -> ArraySource:
    """Decode a whole data set into memory."""
    images = np.empty((len(source), *source.image_shape), image_dtype(source.form))
    for start in range(0, len(source), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(source)))
        for row, example in zip(rows, source.__getitems__(rows), strict=True):
            images[row] = example["image"]
    return ArraySource(images, source.labels, source.label_names, source.groups)


def thread_count() -> int:
    """Return how many threads may decode at once."""
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sizes_differ(
    first: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> UsageError:
    """Return the error for pictures of two shapes [h, w, c] where one is expected."""
    return UsageError(
        f"expected pictures of one size, got {shape[1]}x{shape[0]} in {first} and "
        f"{other_shape[1]}x{other_shape[0]} in {other}; "
        f"try --config.data.image_size={min(shape[:2])}, which makes all of them square"
    )
