"""Batches as a function of (seed, step), over any source with random access."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imgrec_jax.data.source import Source, gather

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainBatches:
    """Shuffled batches: every epoch visits each example once, in an order of its own.

    The last batch of an epoch is filled up with rows whose mask is false.

    Attributes:
        source: the examples.
        batch_size: of the global batch.
        seed: of the orders.
        resident: names of arrays that lie on the device and are left out of batches.
    """

    source: Source
    batch_size: int
    seed: int
    resident: frozenset[str] = frozenset()

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def __call__(self, step: int, steps: int = 1) -> Batch:
        """Return the batches of `steps` steps from `step` on, with axes [steps, batch_size]."""
        plans = [self._rows(step + k) for k in range(steps)]
        index = np.stack([rows for rows, _ in plans])
        batch = _examples(self.source, index, self.resident)
        epochs = (np.arange(step, step + steps) // self.steps_per_epoch).astype(np.int32)
        return {
            **batch,
            "index": index,
            "mask": np.stack([mask for _, mask in plans]),
            "epoch": np.repeat(epochs[:, None], self.batch_size, axis=1),
        }

    def _rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, len(self.source))
        rows = order[position * self.batch_size : (position + 1) * self.batch_size]
        return _padded(rows, self.batch_size)


@dataclass(frozen=True)
class EvalBatches:
    """Batches in the order of the source, the last one filled up with masked rows."""

    source: Source
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def __call__(self, number: int) -> Batch:
        """Return batch `number`, with axis [batch_size]."""
        start = number * self.batch_size
        rows = np.arange(start, min(start + self.batch_size, len(self.source)), dtype=np.int32)
        index, mask = _padded(rows, self.batch_size)
        batch = gather(self.source, index)
        return {**batch, "index": index, "mask": mask, "epoch": np.zeros_like(index)}


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return a permutation of 0 .. size - 1 that depends on (seed, epoch) alone.

    Rows are sorted by raw random bits: NumPy keeps those the same over its versions, and
    promises nothing for `permutation`.
    """
    bits = np.random.Philox(key=[seed, epoch]).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int32)


def _padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill `rows` up to `size` with row 0, and return them with the mask of the real ones."""
    padding = np.zeros(size - len(rows), np.int32)
    return np.concatenate([rows, padding]), np.arange(size) < len(rows)


def _examples(
    source: Source, index: np.ndarray, resident: frozenset[str]
) -> Mapping[str, np.ndarray]:
    """Return what is not resident of the rows in `index`, with its axes in front."""
    if {"image", "label"} <= resident:
        return {}
    flat = gather(source, index.reshape(-1))
    return {
        name: value.reshape(*index.shape, *value.shape[1:])
        for name, value in flat.items()
        if name not in resident
    }
