"""Random orders of rows as functions of a seed and a purpose."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from imgrec_jax.core.random_streams import HostStream, host_bits


@lru_cache(maxsize=2)
def order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return a permutation of 0 .. size - 1 that depends on (seed, epoch) alone."""
    return np.argsort(_bits(size, (seed, epoch), HostStream.ORDER), kind="stable").astype(np.int32)


@lru_cache(maxsize=2)
def order_of_unlabelled(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the order of the unlabelled examples in their `epoch`-th pass."""
    return np.argsort(_bits(size, (seed, epoch), HostStream.UNLABELLED), kind="stable").astype(
        np.int32
    )


@lru_cache(maxsize=8192)
def order_of_class(seed: int, label: int, visit: int, size: int) -> np.ndarray:
    """Return the order of the examples of a class in its `visit`-th pass."""
    return np.argsort(
        _bits(size, (seed, visit), HostStream.WITHIN_CLASS, part=label), kind="stable"
    )


def in_turn(
    seed: int, classes: Sequence[np.ndarray], first: int, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `draws` balanced draws, starting at draw `first` of the run.

    Also return how often each row has been drawn before. Each class is drawn once per round, so
    the number of the round is the number of its earlier draws.
    """
    count = len(classes)
    begin, end = first // count, -(-(first + draws) // count)
    blocks = -(-count // 4)  # a counter gives four numbers; each round starts with a new one
    bits = _bits((end - begin) * blocks * 4, (seed, 0), HostStream.ROUNDS, start=begin * blocks)
    order = np.argsort(bits.reshape(-1, blocks * 4)[:, :count], axis=1, kind="stable")
    labels = order.reshape(-1)[first - begin * count :][:draws]
    rounds = np.arange(first, first + draws) // count
    sizes = np.array([len(rows) for rows in classes])[labels]
    visits, places = np.divmod(rounds, sizes)
    drawn = [
        classes[label][order_of_class(seed, label, visit, size)[place]]
        for label, visit, size, place in zip(
            labels.tolist(), visits.tolist(), sizes.tolist(), places.tolist(), strict=True
        )
    ]
    return np.array(drawn, np.int32), visits.astype(np.int32)


def partners(seed: int, step: int, valid: int, size: int) -> np.ndarray:
    """Return the partner of each row: a random cycle through the first `valid` rows."""
    circle = np.argsort(_bits(valid, (seed, step), HostStream.PARTNERS), kind="stable")
    partners = np.arange(size)
    partners[circle] = np.roll(circle, -1)
    return partners


def _bits(
    size: int, key: tuple[int, int], stream: HostStream, *, start: int = 0, part: int = 0
) -> np.ndarray:
    """Return raw random numbers, whose sorting gives random orders; see `host_bits`."""
    return host_bits(stream, key, start=start, part=part).random_raw(size)


def first_of_order(seed: int, number: int, part: int, size: int, count: int) -> np.ndarray:
    """Return `count` of 0 .. size - 1 in a random order set by the first three arguments alone."""
    order = np.argsort(_bits(size, (seed, number), HostStream.EPISODES, part=part), kind="stable")
    return order[:count]


def padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad `rows` to `size` with row 0, and return them with the mask of the real ones."""
    padding = np.zeros((size - len(rows), *rows.shape[1:]), np.int32)
    return np.concatenate([rows, padding]), np.arange(size) < len(rows)


def rows_of_classes(labels: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each non-empty class, in the order of the source."""
    _, sizes = np.unique(np.asarray(labels), return_counts=True)
    rows = np.argsort(labels, kind="stable").astype(np.int32)
    return np.split(rows, np.cumsum(sizes)[:-1])
