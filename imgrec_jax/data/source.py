"""What every data set looks like to the rest of the package."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Example = dict[str, Any]


class Source(Protocol):
    """Random access to examples, in Grain's protocol, plus what a classifier must know.

    An example is `{"image": uint8[h, w, c], "label": int}`. Rows run from 0 to `len - 1`.
    `labels` (int32[n]) are known without decoding a picture, and all pictures have one shape.
    """

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def label_names(self) -> tuple[str, ...]: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Example: ...

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]: ...


Splits = dict[str, Source]
"""A data set by split: "train", and where they exist "val" and "test"."""


@dataclass(frozen=True)
class ArraySource:
    """A data set that lies decoded in memory.

    Attributes:
        images: uint8[n, h, w, c].
        labels: int32[n], each in 0 .. len(label_names) - 1.
        label_names: the class names, in the order of the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    label_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.images.shape[1:])  # pyright: ignore[reportReturnType]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Example:
        return {"image": self.images[row], "label": self.labels[row]}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self[row] for row in rows]

    def take(self, rows: np.ndarray) -> "ArraySource":
        """Return the given rows as a data set of their own."""
        return ArraySource(self.images[rows], self.labels[rows], self.label_names)


def gather(source: Source, rows: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return examples stacked into a batch: `image` uint8[b, h, w, c], `label` int32[b]."""
    if isinstance(source, ArraySource):  # one indexing call in place of b of them
        return {"image": source.images[rows], "label": source.labels[rows]}
    examples = source.__getitems__([int(row) for row in rows])
    return {
        "image": np.stack([example["image"] for example in examples]),
        "label": np.asarray([example["label"] for example in examples], np.int32),
    }


def fingerprint(splits: Splits, pictures: int = 256) -> str:
    """Return a SHA-256 that names a data set by content: all labels, some pictures of each split.

    `pictures` of each split, evenly spaced, are read; decoding a large set for its name alone
    would take longer than it is worth.
    """
    digest = hashlib.sha256()
    for name, source in sorted(splits.items()):
        digest.update(repr((name, len(source), source.label_names, source.image_shape)).encode())
        digest.update(np.ascontiguousarray(source.labels, np.int32).tobytes())
        rows = np.unique(np.linspace(0, len(source) - 1, pictures).astype(np.int32))
        digest.update(np.ascontiguousarray(gather(source, rows)["image"]).tobytes())
    return digest.hexdigest()


def channel_statistics(source: Source, pictures: int = 10_000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, with pixels in 0 .. 1.

    Measured on up to `pictures` evenly spaced pictures.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, pictures).astype(np.int32))
    total, squares, count = 0.0, 0.0, 0
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        values = gather(source, part)["image"].reshape(-1, source.image_shape[-1]) / 255.0
        total, squares = total + values.sum(0), squares + (values**2).sum(0)
        count += len(values)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean.tolist(), np.maximum(std, 1e-6).tolist()
