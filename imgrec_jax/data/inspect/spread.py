"""Smallest, median and largest of some numbers."""

from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Smallest, median and largest of some numbers; zeros if there are none."""

    least: int
    median: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else " / ".join(map(str, self))


def spread(numbers: np.ndarray) -> Spread:
    """Return the spread of numbers, rounded down."""
    if not len(numbers):
        return Spread(0, 0, 0)
    return Spread(int(numbers.min()), int(np.median(numbers)), int(numbers.max()))
