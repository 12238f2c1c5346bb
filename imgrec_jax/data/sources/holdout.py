"""Select rows of a data set, and hold out a validation split of the training split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.source import ArraySource, Example, Source
from imgrec_jax.data.sources.wrapper import Wrapper


@dataclass(frozen=True)
class Rows(Wrapper):
    """A source made of some rows of another source, without copying or decoding.

    Attributes:
        source: the source of the examples.
        rows: int64[n], the row in `source` of each example.
    """

    rows: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels[self.rows]

    @property
    def groups(self) -> np.ndarray | None:
        groups = super().groups
        return None if groups is None else groups[self.rows]

    @property
    def targets(self) -> Mapping[str, np.ndarray]:
        return {name: array[self.rows] for name, array in super().targets.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return super().__getitems__([int(self.rows[row]) for row in rows])

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        return super().read(self.rows[rows], epochs)


def take(source: Source, rows: np.ndarray) -> Source:
    """Return the given rows as a data set; rows of an in-memory source are copied."""
    return source.take(rows) if isinstance(source, ArraySource) else Rows(source, rows)


def hold_out(
    train: Source, fraction_or_count: float, seed: int, groups: np.ndarray | None = None
) -> tuple[Source, Source]:
    """Split a source in two, stratified by class: (the rest of train, val).

    The held-out examples depend on the seed, the labels and the groups alone; both parts keep the
    order of the source. Each class contributes its share, and keeps at least one training
    example. Without groups the number is exact; with groups, a greedy choice of whole groups
    comes close to the shares.

    Args:
        train: the source to split.
        fraction_or_count: in (0, 1) the fraction to hold out, from 1 on a number of examples.
        seed: at least 0.
        groups: int[n], at least 0; examples with the same number stay on one side.

    Raises:
        UsageError: nothing would be held out, or a class would keep no training example.
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
    if groups is None:
        rows = _choose_rows(train.labels, counts, total, seed)
    else:
        rows = _choose_groups(train.labels, counts, total, seed, groups)
    held = np.zeros(len(train), bool)
    held[rows] = True
    return take(train, np.flatnonzero(~held)), take(train, np.flatnonzero(held))


def _choose_rows(labels: np.ndarray, counts: np.ndarray, total: int, seed: int) -> np.ndarray:
    # raw bits: the only stream that NumPy promises never to change
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(labels)), labels))
    ranks = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[ranks < np.repeat(_shares(counts, total), counts)]


def _choose_groups(
    labels: np.ndarray, counts: np.ndarray, total: int, seed: int, groups: np.ndarray
) -> np.ndarray:
    """Visit the groups in random order; take those that bring the classes closer to their shares.

    The distance is the sum over the classes of (held - share)^2, in integers: times n.
    """
    n = len(labels)
    by_group = np.argsort(groups, kind="stable")
    members = np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1)
    held, most = [0] * len(counts), counts.tolist()  # Python's integers: most groups are small
    by_class = labels.tolist()
    chosen: list[np.ndarray] = []
    for number in np.argsort(np.random.PCG64(seed).random_raw(len(members)), kind="stable"):
        sizes = Counter(by_class[row] for row in members[number].tolist())
        change = sum(
            size * (n * size + 2 * (n * held[label] - most[label] * total))
            for label, size in sizes.items()
        )
        if change < 0 and all(held[k] + size < most[k] for k, size in sizes.items()):
            for label, size in sizes.items():
                held[label] += size
            chosen.append(members[number])
    if not chosen:
        raise UsageError(
            f"expected groups of which some fit into the {total} examples of data.holdout, got "
            f"{len(members)} of up to {max(map(len, members))} in {n} (identical images are a "
            "group); try a larger --config.data.holdout, or another --config.data.group_by"
        )
    return np.concatenate(chosen)


def _total(fraction_or_count: float, n: int) -> int:
    """Return the number of examples to hold out, or 0 if the value is invalid."""
    if 0 < fraction_or_count < 1:
        return round(fraction_or_count * n)
    return int(fraction_or_count) if fraction_or_count in range(1, n) else 0


def _shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Divide `total` among the classes by size (largest remainders); keep one example of each."""
    quotas = counts * total  # in units of 1 / n: integers, so that the rounding is exact
    most = np.maximum(counts - 1, 0)
    shares = np.minimum(quotas // counts.sum(), most)
    while (missing := total - shares.sum()) > 0:
        growing = np.flatnonzero(shares < most)
        surplus = shares[growing] * counts.sum() - quotas[growing]
        shares[growing[np.argsort(surplus, kind="stable")[:missing]]] += 1
    return shares
