"""The images of a split as stored, for packing and inspection.

Unlike the rows of a `Source`, they differ in size, and damaged images are items like the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, overload

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.images.decode import decode

Stored = bytes | np.ndarray
"""An image: the bytes of its file, or uint8[h, w, c] where there is no file."""

_CHUNK = 64  # images read at once


class StoredImages(Protocol):
    """Images by row, such as `encoded.EncodedImages`."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str: ...

    def read(self, rows: Sequence[int]) -> Sequence[Stored]: ...


@dataclass(frozen=True)
class LazyRows(Sequence[Stored]):
    """Some rows of images, read on demand; can be sent to another process."""

    images: StoredImages
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, row: int) -> Stored: ...

    @overload
    def __getitem__(self, row: slice) -> "LazyRows": ...

    def __getitem__(self, row: int | slice) -> "Stored | LazyRows":
        if isinstance(row, slice):
            return LazyRows(self.images, self.rows[row])
        return self.images.read([self.rows[row]])[0]

    def __iter__(self) -> Iterator[Stored]:
        return iter(self.images.read(self.rows))


@dataclass(frozen=True)
class Images:
    """The images of one split, or of some of its rows.

    Attributes:
        items: the images: `LazyRows`, a list, or uint8[n, h, w, c].
        where: name of the split, for messages; "" for `LazyRows`, which have their own.
        labels: int32[n]; -1 = not known.
        label_names: the class names, in the order of the labels.
        names: name of each image; empty = its number.
        first: the number of the first image within the split.
        boxes: their boxes, as `box_annotations.pack` returns them; {} if each image has a class.
    """

    items: Sequence[Stored] | np.ndarray
    where: str
    labels: np.ndarray
    label_names: tuple[str, ...]
    names: Sequence[str] = ()
    first: int = 0
    boxes: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """Return the name of an image, for messages."""
        if isinstance(self.items, LazyRows):
            return self.items.images.name(self.items.rows[row])
        if self.names:
            return f"{self.where}: {readable(self.names[row])}"
        return f"{self.where}[{self.first + row}]"

    def part(self, start: int, stop: int) -> "Images":
        """Return the rows from `start` to before `stop`, which can be sent to another process."""
        rows = slice(start, stop)
        return replace(
            self,
            items=self.items[rows],
            labels=self.labels[rows],
            names=self.names[rows],
            first=self.first + start,
            boxes={name: array[rows] for name, array in self.boxes.items()},
        )

    def count(self) -> np.ndarray:
        """Return the number of images of each class, or with a box of it: int64[k]."""
        classes = len(self.label_names)
        if not self.boxes:
            return np.bincount(self.labels[self.labels >= 0], minlength=classes)
        return np.array([self.has(label).sum() for label in range(classes)], np.int64)

    def has(self, label: int) -> np.ndarray:
        """Return which images are of a class, or have a box of it: bool[n]."""
        if not self.boxes:
            return self.labels == label
        return (self.boxes["box_mask"] & (self.boxes["box_label"] == label)).any(1)

    def __iter__(self) -> Iterator[tuple[Stored, np.ndarray] | UserError]:
        """Yield each image as `read` returns it, or the error that it raises."""
        for start in range(0, len(self), _CHUNK):
            try:
                items = list(self.items[start : start + _CHUNK])
            except UserError:  # a file cannot be read: find out which one
                items = [None] * len(self.items[start : start + _CHUNK])
            for row, item in enumerate(items, start):
                try:
                    yield self.read(row) if item is None else self._decode(row, item)
                except UserError as error:
                    yield error

    def read(self, row: int) -> tuple[Stored, np.ndarray]:
        """Return an image as stored, and decoded: uint8[h, w, c].

        Raises:
            UserError: it is damaged or cannot be read.
        """
        return self._decode(row, self.items[row])

    def _decode(self, row: int, item: Stored) -> tuple[Stored, np.ndarray]:
        return item, item if isinstance(item, np.ndarray) else decode(item, self.name(row))
