"""The images of a split as stored, for packing and inspection.

Unlike the rows of a `Source`, they differ in size, and damaged images are items like the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, overload

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.formats.mask_values import MaskValues
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.label_image import decode_mask
from imgrec_jax.data.sources.annotated_size import match_annotated
from imgrec_jax.data.sources.encoded import thread_count

T = TypeVar("T")

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
    rows: Sequence[int]

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
        items: the images: `LazyRows`, a list, or uint8[n, h, w, c]; None if there are none.
        where: name of the split, for messages; "" for `LazyRows`, which have their own.
        labels: int32[n]; -1 = not known.
        label_names: the class names, in the order of the labels.
        names: name of each image; empty = its number.
        first: the number of the first image within the split.
        fields: what stands beside an image, by its name in `core.fields`: arrays with a leading
            axis n, or `RawMasks`. Boxes are in pixels of the image as stored.
        facts: the meaning of the fields, as in `ArraySource`.
        sizes: int64[n, 2], the (height, width) of each image in its annotation, or None.
    """

    items: Sequence[Stored] | np.ndarray | None
    where: str
    labels: np.ndarray
    label_names: tuple[str, ...]
    names: Sequence[str] = ()
    first: int = 0
    fields: Mapping[str, "np.ndarray | RawMasks"] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    sizes: np.ndarray | None = None

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
            items=None if self.items is None else self.items[rows],
            labels=self.labels[rows],
            names=self.names[rows],
            first=self.first + start,
            fields={name: values[rows] for name, values in self.fields.items()},
            sizes=None if self.sizes is None else self.sizes[rows],
        )

    def take(self, rows: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> "Images":
        """Return some rows, with other labels: int32[n]."""
        names = self.names or [self.name(row) for row in range(len(self))]
        items = self.items
        if isinstance(items, LazyRows):
            items = LazyRows(items.images, [items.rows[row] for row in rows.tolist()])
        elif items is not None:
            items = items[rows] if isinstance(items, np.ndarray) else [items[row] for row in rows]
        return replace(
            self,
            items=items,
            labels=labels,
            label_names=label_names,
            names=[names[row] for row in rows.tolist()],
            fields={name: np.asarray(values)[rows] for name, values in self.fields.items()},
            sizes=None if self.sizes is None else self.sizes[rows],
        )

    def __iter__(self) -> Iterator[tuple[Stored, np.ndarray] | UserError]:
        """Yield each image as `read` returns it, or the error that it raises."""
        if self.items is None:
            return
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
        assert self.items is not None
        return self._decode(row, self.items[row])

    def _decode(self, row: int, item: Stored) -> tuple[Stored, np.ndarray]:
        pixels = item if isinstance(item, np.ndarray) else decode(item, self.name(row))
        if self.sizes is not None and isinstance(item, bytes):
            height, width = self.sizes[row].tolist()
            pixels = match_annotated(pixels, item, self.name(row), (height, width))
        return item, pixels


@dataclass(frozen=True)
class RawMasks(Sequence[np.ndarray]):
    """Label images as stored, decoded on access to int32[h, w].

    Attributes:
        files: the label images.
        table: the meaning of their values.
        names: of the files, for messages.
    """

    files: Sequence[Stored]
    table: MaskValues
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.files)

    def map(self, measure: Callable[[np.ndarray], T]) -> Iterator[T | UserError]:
        """Yield a function of each label image, computed by several threads, or its error."""

        def one(row: int) -> T | UserError:
            try:
                return measure(self[row])
            except UserError as error:
                return error

        with ThreadPoolExecutor(thread_count()) as pool:
            yield from pool.map(one, range(len(self)))

    @overload
    def __getitem__(self, row: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, row: slice) -> "RawMasks": ...

    def __getitem__(self, row: int | slice) -> "np.ndarray | RawMasks":
        if isinstance(row, slice):
            return replace(self, files=self.files[row], names=self.names[row])
        file = self.files[row]
        assert isinstance(file, bytes)
        return decode_mask(file, self.names[row], colors=self.table.colors)
