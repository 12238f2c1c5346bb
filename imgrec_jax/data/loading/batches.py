"""Batches as a function of (seed, step), over any source with random access."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import EllipsisType

import numpy as np

from imgrec_jax.core.errors import unknown
from imgrec_jax.data.sources.source import Source, gather

Batch = dict[str, np.ndarray]
SAMPLINGS = ("balanced", "shuffle")
# The last word of the counters of random bits: what the bits are for.
_ORDER, _PARTNERS, _ROUNDS, _WITHIN_CLASS = range(4)


@dataclass(frozen=True)
class TrainBatches:
    """Batches in a random order that is a function of (seed, step).

    An epoch has as many draws as there are examples; its last batch is filled up with rows
    whose mask is false. With the sampling "shuffle" every epoch visits each example once. With
    "balanced" every class that has examples is drawn once in a round of as many draws as there
    are classes, in an order of each round's own, and gives its examples in turn: rare ones come
    back several times in an epoch. `epoch` then counts how often an example has come before, so
    that each of its visits is augmented in another way.

    With `partners` each row brings another row of the same global batch along for mixup and
    CutMix: `partner_index`, `partner_epoch` and, unless resident, `partner_image` and
    `partner_label`. Partners are a permutation of the valid rows in which none is its own (but
    where it is alone); padding rows are their own.

    Attributes:
        source: the examples.
        batch_size: of the global batch.
        seed: of the orders.
        resident: the source lies on the device, and its arrays are left out of batches.
        columns: the part of every global batch that this process reads.
        sampling: "shuffle" or "balanced".
        partners: whether rows come with partners.
    """

    source: Source
    batch_size: int
    seed: int
    resident: bool = False
    columns: np.ndarray | EllipsisType = ...
    sampling: str = "shuffle"
    partners: bool = False

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise unknown("data.sampling", self.sampling, SAMPLINGS)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def __call__(self, step: int, steps: int = 1) -> Batch:
        """Return the batches of `steps` steps from `step` on, with axes [steps, batch_size]."""
        plans = [self._plan(step + k) for k in range(steps)]
        plan = {name: np.stack([p[name][self.columns] for p in plans]) for name in plans[0]}
        if self.resident:
            return plan
        kinds = ("", "partner_") if self.partners else ("",)
        rows, epochs = (
            np.stack([plan[f"{kind}{name}"] for kind in kinds]) for name in ("index", "epoch")
        )
        read = gather(self.source, rows.reshape(-1), epochs.reshape(-1))
        batch = {
            f"{kind}{name}": part
            for name, value in read.items()
            for kind, part in zip(kinds, value.reshape(*rows.shape, *value.shape[1:]), strict=True)
        }
        return _without_broken({**batch, **plan})

    def examples(self, step: int) -> int:
        """Return how many examples the steps before `step` have seen, over all processes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return epoch * len(self.source) + position * self.batch_size

    def _plan(self, step: int) -> Batch:
        """Return what the rows of the global batch are, without what is in them."""
        size = len(self.source)
        epoch, position = divmod(step, self.steps_per_epoch)
        first, end = (min(k * self.batch_size, size) for k in (position, position + 1))
        if self.sampling == "shuffle":
            rows = _order(self.seed, epoch, size)[first:end]
            epochs = np.full(self.batch_size, epoch, np.int32)
        else:
            rows, visits = _in_turn(self.seed, self._classes, epoch * size + first, end - first)
            epochs, _ = _padded(visits, self.batch_size)
        index, mask = _padded(rows, self.batch_size)
        plan = {"index": index, "mask": mask, "epoch": epochs}
        if self.partners:
            partner = _partners(self.seed, step, len(rows), self.batch_size)
            plan |= {"partner_index": index[partner], "partner_epoch": epochs[partner]}
        return plan

    @cached_property
    def _classes(self) -> list[np.ndarray]:
        """The rows of each class that has any, in the order of the source."""
        labels = np.asarray(self.source.labels)
        _, sizes = np.unique(labels, return_counts=True)
        rows = np.argsort(labels, kind="stable").astype(np.int32)
        return np.split(rows, np.cumsum(sizes)[:-1])


@dataclass(frozen=True)
class EvalBatches:
    """Batches in the order of the source, the last one filled up with masked rows.

    `columns` are the part of every global batch that this process reads.
    """

    source: Source
    batch_size: int
    columns: np.ndarray | EllipsisType = ...

    def __len__(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def __call__(self, number: int) -> Batch:
        """Return batch `number`, with axis [batch_size], or as many as there are columns."""
        start = number * self.batch_size
        rows = np.arange(start, min(start + self.batch_size, len(self.source)), dtype=np.int32)
        index, mask = (part[self.columns] for part in _padded(rows, self.batch_size))
        batch = gather(self.source, index)
        plan = {"index": index, "mask": mask, "epoch": np.zeros_like(index)}
        return _without_broken({**batch, **plan})


def _without_broken(batch: Batch) -> Batch:
    """Return the batch with damaged pictures masked out, and none of them anybody's partner.

    A row whose partner is damaged is its own. So all that is divided by a number of examples is
    divided by that of whole ones, as if the others had not been there.
    """
    if "broken" in batch:
        batch["mask"] = batch["mask"] & (batch.pop("broken") == "")
    if "partner_broken" in batch:
        alone = batch.pop("partner_broken") != ""
        for name in [name for name in batch if f"partner_{name}" in batch]:
            batch[f"partner_{name}"][alone] = batch[name][alone]
    return batch


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return a permutation of 0 .. size - 1 that depends on (seed, epoch) alone."""
    return np.argsort(_bits(size, (seed, epoch), _ORDER), kind="stable").astype(np.int32)


@lru_cache(maxsize=8192)
def _order_of_class(seed: int, label: int, visit: int, size: int) -> np.ndarray:
    """Return the order in which a class gives its examples for the `visit`-th time."""
    return np.argsort(_bits(size, (seed, visit), _WITHIN_CLASS, part=label), kind="stable")


def _in_turn(
    seed: int, classes: list[np.ndarray], first: int, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `draws` balanced draws from draw `first` of the run on.

    Beside them how often each row has been drawn before. A class is drawn once a round, so its
    draws need not be counted: the round's number says how many there were.
    """
    count = len(classes)
    begin, end = first // count, -(-(first + draws) // count)
    blocks = -(-count // 4)  # a counter gives four numbers; each round begins with a new one
    bits = _bits((end - begin) * blocks * 4, (seed, 0), _ROUNDS, start=begin * blocks)
    order = np.argsort(bits.reshape(-1, blocks * 4)[:, :count], axis=1, kind="stable")
    labels = order.reshape(-1)[first - begin * count :][:draws]
    rounds = np.arange(first, first + draws) // count
    sizes = np.array([len(rows) for rows in classes])[labels]
    visits, places = np.divmod(rounds, sizes)
    drawn = [
        classes[label][_order_of_class(seed, label, visit, size)[place]]
        for label, visit, size, place in zip(
            labels.tolist(), visits.tolist(), sizes.tolist(), places.tolist(), strict=True
        )
    ]
    return np.array(drawn, np.int32), visits.astype(np.int32)


def _partners(seed: int, step: int, valid: int, size: int) -> np.ndarray:
    """Return the partner of each row: one random circle through the first `valid` rows."""
    circle = np.argsort(_bits(valid, (seed, step), _PARTNERS), kind="stable")
    partners = np.arange(size)
    partners[circle] = np.roll(circle, -1)
    return partners


def _bits(
    size: int, key: tuple[int, int], purpose: int, *, start: int = 0, part: int = 0
) -> np.ndarray:
    """Return raw random numbers, four of each counter from `start` on.

    Random orders are made by sorting them: NumPy keeps raw bits the same over its versions, and
    promises nothing for `permutation`.
    """
    counter = [start, part, 0, purpose]
    return np.random.Philox(key=list(key), counter=counter).random_raw(size)


def _padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill `rows` up to `size` with row 0, and return them with the mask of the real ones."""
    padding = np.zeros(size - len(rows), np.int32)
    return np.concatenate([rows, padding]), np.arange(size) < len(rows)
