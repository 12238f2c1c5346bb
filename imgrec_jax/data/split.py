"""A validation split held out of the training split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.source import ArraySource, Example, Source


@dataclass(frozen=True)
class Rows:
    """Some rows of a source, as a source: nothing is copied or decoded.

    Attributes:
        source: where the examples are.
        rows: int64[n], the source's row of each.
    """

    source: Source
    rows: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels[self.rows]

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.source.label_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Example:
        return self.source[int(self.rows[row])]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return self.source.__getitems__([int(self.rows[row]) for row in rows])


def hold_out(train: Source, fraction_or_count: float, seed: int) -> tuple[Source, Source]:
    """Split a source in two by class: (what is left of train, val).

    Which examples are held out depends on the seed and the labels alone; both parts keep the
    order of the source. Each class gives its share, rounded so that the sum is exact, and keeps
    at least one training example.

    Args:
        train: the source to divide.
        fraction_or_count: in (0, 1) the part to hold out, from 1 on a number of examples.
        seed: at least 0.

    Raises:
        UsageError: nothing would be held out, or some class would keep no training example.
    """
    counts = np.bincount(train.labels, minlength=len(train.label_names))
    most = int(np.maximum(counts - 1, 0).sum())
    total = _total(fraction_or_count, len(train))
    if not 1 <= total <= most:
        raise UsageError(
            f"expected data.holdout to be a fraction or a number that holds out 1 to {most} of "
            f"the {len(train)} training examples (one of each class must stay), got "
            f"{fraction_or_count:g}; try --config.data.holdout=0.1"
        )
    # raw bits, because NumPy promises to keep their stream for all time, and no other
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(train)), train.labels))
    ranks = np.arange(len(train)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = ranks < np.repeat(_shares(counts, total), counts)
    return _take(train, np.sort(order[~held])), _take(train, np.sort(order[held]))


def _total(fraction_or_count: float, n: int) -> int:
    """Return the number of examples that is meant, or 0 if it is none."""
    if 0 < fraction_or_count < 1:
        return round(fraction_or_count * n)
    return int(fraction_or_count) if fraction_or_count in range(1, n) else 0


def _shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Divide `total` among the classes by their size (largest remainders), keeping one of each."""
    quotas = counts * total  # in units of 1 / n: integers, so that the rounding is exact
    most = np.maximum(counts - 1, 0)
    shares = np.minimum(quotas // counts.sum(), most)
    while (missing := total - shares.sum()) > 0:
        growing = np.flatnonzero(shares < most)
        surplus = shares[growing] * counts.sum() - quotas[growing]
        shares[growing[np.argsort(surplus, kind="stable")[:missing]]] += 1
    return shares


def _take(source: Source, rows: np.ndarray) -> Source:
    return source.take(rows) if isinstance(source, ArraySource) else Rows(source, rows)
