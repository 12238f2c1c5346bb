"""What a step needs from the other shards of its batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from imgrec_jax.core.barriers import after
from imgrec_jax.core.task import PyTree
from imgrec_jax.training.step.parallel import Parallel


def _same(tree: PyTree) -> PyTree:
    return tree


def _values(before: PyTree, values: PyTree) -> PyTree:
    del before
    return values


@dataclass(frozen=True)
class Shards:
    """Operations over the shards of a batch; the defaults are those of a single shard.

    Attributes:
        add_up: sums a tree over all shards.
        gather: returns the rows of all shards, in the order of the global batch.
        number: returns the number of this shard.
        settle: makes the model state equal on all shards, where it is not already.
        wait: `(before, values)` returns the values, computed after `before` if that matters;
            see `core.barriers.after`.
    """

    add_up: Callable[[PyTree], PyTree] = _same
    gather: Callable[[PyTree], PyTree] = _same
    number: Callable[[], Any] = lambda: 0
    settle: Callable[[PyTree], PyTree] = _same
    wait: Callable[[PyTree, PyTree], PyTree] = _values


def shards_of(parallel: Parallel) -> Shards:
    """Return the operations over the axis of devices, if the step is mapped over one."""
    axis = parallel.axis_name
    wait = after if parallel.shares_threads else _values
    if axis is None:
        return Shards(wait=wait)
    return Shards(
        add_up=lambda tree: jax.lax.psum(tree, axis),
        gather=lambda tree: jax.lax.all_gather(tree, axis, tiled=True),
        number=lambda: jax.lax.axis_index(axis),
        settle=_same if parallel.sync_batchnorm else lambda tree: jax.lax.pmean(tree, axis),
        wait=wait,
    )
