"""Table of all streams of random bits: one number for each purpose, so that no two coincide.

A number never changes: a run would not continue bit for bit. A new purpose gets the next one.
(`hold_out`, examples per class, and the episodes of `probe` draw once, from PCG64 of their seed.)
"""

import enum

import numpy as np


class HostStream(enum.IntEnum):
    """The last word of the counter of random bits on the host."""

    ORDER = 0
    PARTNERS = 1
    ROUNDS = 2
    WITHIN_CLASS = 3
    CROP = 4
    EPISODES = 5
    UNLABELLED = 6
    PAIRS = 7


class RootStream(enum.IntEnum):
    """What is folded into the root key of a run."""

    STEPS = 0
    EXAMPLES = 1
    INITIALISATION = 2
    EVALUATION = 3


class ExampleStream(enum.IntEnum):
    """What is folded into the key of an example, beyond the numbers of augmentation stages."""

    MIXING = 1 << 16
    VIEWS = 1 << 17
    """Plus the number of the view."""


def host_bits(
    stream: HostStream, key: tuple[int, int], *, start: int = 0, part: int = 0
) -> np.random.Philox:
    """Return a generator of raw random bits that depends on its arguments alone.

    NumPy keeps raw bits the same across versions, but does not promise this for `permutation`.

    Args:
        stream: the purpose of the bits.
        key: such as (seed, epoch).
        start: the first counter; each gives four numbers.
        part: further number, such as a row or a class.
    """
    return np.random.Philox(key=list(key), counter=[start, part, 0, stream])
