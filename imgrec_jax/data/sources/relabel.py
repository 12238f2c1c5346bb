"""A data set with its classes numbered as a trained network numbers them."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.source import ArraySource, Example, Source, gather, groups_of

_OF_PARTS = ("box_label", "label_map")
"""What holds class numbers in place of `label`, where a picture has no class of its own."""


@dataclass(frozen=True)
class Relabelled:
    """A source whose labels are replaced, without touching its pictures.

    Attributes:
        source: where the pictures are.
        labels: int32[n], the new labels.
        label_names: the class names, in the order of the new labels.
        numbers: int32[k], the new number of each old one; for those of boxes and pixels.
    """

    source: Source
    labels: np.ndarray
    label_names: tuple[str, ...]
    numbers: np.ndarray

    @property
    def groups(self) -> np.ndarray | None:
        return groups_of(self.source)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([range(len(self))[row]])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        examples = self.source.__getitems__(rows)
        return [
            {**example, "label": self.labels[row], **_renumbered(example, self.numbers)}
            for row, example in zip(rows, examples, strict=True)
        ]

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        examples = gather(self.source, rows, epochs)
        return {**examples, "label": self.labels[rows], **_renumbered(examples, self.numbers)}


def relabel(source: Source, label_names: tuple[str, ...], where: str) -> Source:
    """Return the source with labels that count in `label_names`; classes may be missing in it.

    Labels of boxes and of pixels are numbered anew as well; pixels that are ignored stay so.

    Args:
        source: what to number anew; its classes are found by name.
        label_names: the class names, in the order of the new labels.
        where: what the source is called, for messages.

    Raises:
        UsageError: the source has a class of another name.
    """
    if source.label_names == label_names:
        return source
    if strange := [name for name in source.label_names if name not in label_names]:
        raise UsageError(
            f"expected the classes of the run ({_few(label_names)}), got {_few(strange)} in "
            f"{where}; try data with the same class names"
        )
    numbers = np.asarray([label_names.index(name) for name in source.label_names], np.int32)
    return renumber(source, label_names, numbers)


def renumber(source: Source, label_names: tuple[str, ...], numbers: np.ndarray) -> Source:
    """Return the source with other labels.

    Args:
        source: what to number anew.
        label_names: the class names, in the order of the new labels.
        numbers: int32[k], the new label of each old one.
    """
    of_parts = len(source) > 0 and any(name in source[0] for name in _OF_PARTS)
    labels = source.labels if of_parts else numbers[source.labels]
    if isinstance(source, ArraySource):
        targets = {**source.targets, **_renumbered(source.targets, numbers)}
        return dataclasses.replace(source, labels=labels, label_names=label_names, targets=targets)
    return Relabelled(source, labels, label_names, numbers)


def _renumbered(example: Mapping[str, np.ndarray], numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Return the labels of parts among the arrays, with those beyond all classes as they are."""
    renumbered = {}
    for name in (name for name in _OF_PARTS if name in example):
        old = example[name]
        table = np.arange(max(len(numbers), int(old.max(initial=0)) + 1))
        table[: len(numbers)] = numbers
        renumbered[name] = table.astype(old.dtype)[old]
    return renumbered


def _few(names: Sequence[str]) -> str:
    """Return the names in a row, of many the first ten."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
