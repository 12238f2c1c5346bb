"""Interface of data sets: random access to examples."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

Example = dict[str, Any]


class Source(Protocol):
    """Random access to examples, in Grain's protocol, plus properties that are known beforehand.

    An example is `{"image": uint8 or uint16[h, w, c], "label": int}` and the other fields that its
    task uses (`label_map`, `boxes`, ...): arrays of the same shape in every example. Rows run
    from 0 to `len - 1`. `labels` (int32[n]) are known without decoding an image, and are used to
    balance splits and sampling (zeros if images have no class of their own). `label_names` are
    the classes of the task. All images have one shape and type.
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


@runtime_checkable
class Reader(Protocol):
    """Extra interface of sources that produce their images at each access.

    `read` returns the examples of `rows` as arrays for the given `epochs` (both int[b]): the crop
    of training images may depend on the epoch; -1 is for all uses other than training. If damaged
    images are skipped it also returns `broken`, str[b]: why an example is zeros, "" for all
    others.
    """

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]: ...


Splits = dict[str, Source]
"""A data set by split: "train", and where they exist "val", "test" and, for training beside
"train", "unlabelled"."""


def without_unlabelled(splits: Splits) -> Splits:
    """Return the splits whose labels may be used."""
    return {name: source for name, source in splits.items() if name != "unlabelled"}


@dataclass(frozen=True)
class ArraySource:
    """A decoded data set in memory.

    Attributes:
        images: uint8[n, h, w, c], or uint16; None if examples hold no image.
        labels: int32[n], each in 0 .. len(label_names) - 1.
        label_names: the class names, in the order of the labels.
        groups: int32[n], which examples belong together (one patient, one burst); None = unknown.
        targets: further arrays with a leading axis n, by field name.
        facts: the meaning of the targets beyond `label_names`: see `facts_of`.
    """

    images: np.ndarray | None
    labels: np.ndarray
    label_names: tuple[str, ...]
    groups: np.ndarray | None = None
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All fields of the examples, with a leading axis n."""
        image = {} if self.images is None else {"image": self.images}
        return {**image, "label": self.labels, **self.targets}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        if self.images is None:
            return 0, 0, 0
        return tuple(self.images.shape[1:])  # pyright: ignore[reportReturnType]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Example:
        return {name: array[row] for name, array in self.arrays.items()}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self[row] for row in rows]

    def take(self, rows: np.ndarray) -> "ArraySource":
        """Return the given rows as a data set of their own."""
        return replace(
            self,
            images=None if self.images is None else self.images[rows],
            labels=self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
            targets={name: array[rows] for name, array in self.targets.items()},
        )


def facts_of(source: Source) -> Mapping[str, Any]:
    """Return a source's facts about its fields as JSON, such as a `vocabulary`; {} by default."""
    return getattr(source, "facts", {})


def targets_of(source: Source) -> Mapping[str, np.ndarray]:
    """Return a source's in-memory arrays besides images and labels, by name, with an axis n."""
    return getattr(source, "targets", {})


def groups_of(source: Source) -> np.ndarray | None:
    """Return int[n], which examples belong together; None if unknown."""
    return getattr(source, "groups", None)


def gather(
    source: Source, rows: np.ndarray, epochs: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return examples stacked into a batch: `image` [b, h, w, c], `label` int32[b], ...

    `epochs` (int[b]) are passed to a `Reader`; without them the batch is not for training.
    """
    if isinstance(source, ArraySource):  # one indexing call instead of b
        return {name: array[rows] for name, array in source.arrays.items()}
    epochs = np.full_like(rows, -1) if epochs is None else epochs
    # Partners are rows of the same batch, and padding repeats one row: each row is read once.
    visits, place = np.unique((rows.astype(np.int64) << 32) + epochs + 1, return_inverse=True)
    if len(visits) < len(rows):
        read = gather(source, visits >> 32, (visits & 0xFFFFFFFF) - 1)
        return {name: array[place] for name, array in read.items()}
    if isinstance(source, Reader):
        return source.read(rows, epochs)
    examples = source.__getitems__([int(row) for row in rows])
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    return {**batch, "label": batch["label"].astype(np.int32)}


def fingerprint(splits: Splits, images: int = 256) -> str:
    """Return a SHA-256 that identifies a data set by its labels and some images of each split.

    Only `images` evenly spaced images of each split are read, because decoding a large set for a
    fingerprint would take too long.
    """
    digest = hashlib.sha256()
    for name, source in sorted(splits.items()):
        digest.update(repr((name, len(source), source.label_names, source.image_shape)).encode())
        digest.update(np.ascontiguousarray(source.labels, np.int32).tobytes())
        rows = np.unique(np.linspace(0, len(source) - 1, images).astype(np.int32))
        for key, array in sorted(gather(source, rows).items()):
            if key not in ("label", "broken"):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def channel_statistics(source: Source, examples: int = 10_000) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, with pixels in 0 .. 1.

    Measured on up to `examples` evenly spaced images.
    """
    rows = np.unique(np.linspace(0, len(source) - 1, examples).astype(np.int32))
    total, squares, count = 0.0, 0.0, 0
    for part in np.array_split(rows, max(1, len(rows) // 256)):
        batch = gather(source, part)
        images = batch["image"][batch.get("broken", np.zeros(len(part), "U1")) == ""]
        values = images.reshape(-1, source.image_shape[-1]) / np.iinfo(images.dtype).max
        total, squares = total + values.sum(0), squares + (values**2).sum(0)
        count += len(values)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean.tolist(), np.maximum(std, 1e-6).tolist()
