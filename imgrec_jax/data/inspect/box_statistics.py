"""Statistics of the boxes of a split: number per label, size, number per image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Smallest, median and largest of some numbers; zeros if there are none."""

    least: int
    median: int
    most: int


def spread(numbers: np.ndarray) -> Spread:
    """Return the spread of numbers, rounded down."""
    if not len(numbers):
        return Spread(0, 0, 0)
    return Spread(int(numbers.min()), int(np.median(numbers)), int(numbers.max()))


@dataclass(frozen=True)
class BoxReport:
    """The boxes of one split.

    Attributes:
        counts: int64[k], boxes of each label, without ignored ones (crowds).
        widths, heights: of the boxes of each label, in pixels.
        ignored: how many boxes are neither trained on nor scored.
        in_an_image: number of boxes per image.
        empty: images without any box.
    """

    counts: np.ndarray
    widths: tuple[Spread, ...]
    heights: tuple[Spread, ...]
    ignored: int
    in_an_image: Spread
    empty: int


def report_boxes(targets: Mapping[str, np.ndarray], labels: int) -> BoxReport:
    """Return the statistics of arrays of `box_annotations.pack`, with `labels` labels."""
    mask, ignore = targets["box_mask"], targets["box_ignore"]
    counted = mask & ~ignore
    label, boxes = targets["box_label"][counted], targets["boxes"][counted]
    sides = boxes[:, 2:] - boxes[:, :2]
    by_label = [sides[label == number] for number in range(labels)]
    return BoxReport(
        np.bincount(label, minlength=labels),
        tuple(spread(some[:, 0]) for some in by_label),
        tuple(spread(some[:, 1]) for some in by_label),
        int((mask & ignore).sum()),
        spread(mask.sum(1)),
        int((~mask.any(1)).sum()),
    )
