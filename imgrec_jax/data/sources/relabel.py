"""Renumber the classes of a data set to match a trained network."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import CLASSES_OF_PARTS, LABEL, of_kind
from imgrec_jax.data.sources.source import ArraySource, Example, Source
from imgrec_jax.data.sources.wrapper import Wrapper


@dataclass(frozen=True)
class Relabelled(Wrapper):
    """A source with renumbered classes and the same images.

    Attributes:
        source: the source of the images.
        names: the class names, in the order of the new numbers.
        numbers: int32[k], the new number of each old one.
        kinds: the kinds of the fields that hold class numbers (`core.fields`).
    """

    names: tuple[str, ...]
    numbers: np.ndarray
    kinds: frozenset[str]

    @property
    def labels(self) -> np.ndarray:
        return self._renumbered({"label": super().labels})["label"]

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.names

    @property
    def targets(self) -> Mapping[str, np.ndarray]:
        return self._renumbered(super().targets)

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self._renumbered(example) for example in super().__getitems__(rows)]

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        return self._renumbered(super().read(rows, epochs))

    def _renumbered(self, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**fields, **_renumbered(fields, self.numbers, self.kinds)}


def relabel(source: Source, label_names: tuple[str, ...], where: str) -> Source:
    """Return the source with labels that index `label_names`; the source may lack some classes.

    Labels of boxes and of pixels are renumbered too; ignored pixels stay ignored.

    Args:
        source: the source to renumber; its classes are matched by name.
        label_names: the class names, in the order of the new labels.
        where: the name of the source, for messages.

    Raises:
        UsageError: the source has a class that is not in `label_names`.
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
        source: the source to renumber.
        label_names: the class names, in the order of the new labels.
        numbers: int32[k], the new label of each old one.
    """
    parts = len(source) > 0 and of_kind(source[0], *CLASSES_OF_PARTS)
    # If parts of an image have classes, `label` is 0 and means none.
    kinds = CLASSES_OF_PARTS if parts else frozenset({LABEL})
    if isinstance(source, ArraySource):
        changed = _renumbered({"label": source.labels, **source.targets}, numbers, kinds)
        labels = changed.pop("label", source.labels)
        return dataclasses.replace(
            source, labels=labels, label_names=label_names, targets={**source.targets, **changed}
        )
    return Relabelled(source, label_names, numbers, kinds)


def _renumbered(
    fields: Mapping[str, np.ndarray], numbers: np.ndarray, kinds: frozenset[str]
) -> dict[str, np.ndarray]:
    """Return fields of the given kinds with new class numbers; numbers of no class are kept."""
    renumbered = {}
    for name, values in of_kind(fields, *kinds).items():
        old = np.asarray(values)
        table = np.arange(max(len(numbers), int(old.max(initial=0)) + 1))
        table[: len(numbers)] = numbers
        renumbered[name] = table.astype(old.dtype)[old]
    return renumbered


def _few(names: Sequence[str]) -> str:
    """Return the names as one text, at most the first ten."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
