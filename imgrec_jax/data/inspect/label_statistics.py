"""Statistics of the classes of whole images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.data.raw.items import Images


@dataclass(frozen=True)
class LabelReport:
    """The classes of one split.

    Attributes:
        labels: int32[n], the class of each image; -1 = not known.
        classes: the number of classes.
    """

    labels: np.ndarray
    classes: int

    def has(self, label: int) -> np.ndarray:
        """Return which images are of a class: bool[n]."""
        return self.labels == label

    def class_counts(self) -> np.ndarray:
        """Return the number of images of each class, int64[k]."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.classes)


def report_labels(images: Images, name: str) -> LabelReport:
    """Return the classes of images."""
    del name
    return LabelReport(images.labels, len(images.label_names))


def label_lines(
    name: str, reports: Mapping[str, LabelReport], label_names: Sequence[str]
) -> list[str]:
    """Return no text: the table of classes shows all."""
    del name, reports, label_names
    return []


def labels_json(report: LabelReport, label_names: Sequence[str]) -> dict[str, Any]:
    """Return nothing: the classes are part of every report."""
    del report, label_names
    return {}
