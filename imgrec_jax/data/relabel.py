"""A data set with its classes numbered as a trained network numbers them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.source import ArraySource, Example, Source


@dataclass(frozen=True)
class Relabelled:
    """A source whose labels are replaced, without touching its pictures.

    Attributes:
        source: where the pictures are.
        labels: int32[n], the new labels.
        label_names: the class names, in the order of the new labels.
    """

    source: Source
    labels: np.ndarray
    label_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        return {**self.source[row], "label": self.labels[row]}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        examples = self.source.__getitems__(rows)
        pairs = zip(rows, examples, strict=True)
        return [{**example, "label": self.labels[row]} for row, example in pairs]


def relabel(source: Source, label_names: tuple[str, ...], where: str) -> Source:
    """Return the source with labels that count in `label_names`; classes may be missing in it.

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
    labels = numbers[source.labels]
    if isinstance(source, ArraySource):
        return dataclasses.replace(source, labels=labels, label_names=label_names)
    return Relabelled(source, labels, label_names)


def _few(names: Sequence[str]) -> str:
    """Return the names in a row, of many the first ten."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
