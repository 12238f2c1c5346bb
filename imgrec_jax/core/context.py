"""The context that a loss receives besides parameters and batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float, Int, Key

PyTree = Any
Counts = dict[str, Float[Array, ""]]
Weights = tuple[PyTree, PyTree]
"""`(params, model_state)`."""


def _unchanged(tree: PyTree) -> PyTree:
    return tree


@dataclass(frozen=True)
class Context:
    """What the training step passes to a loss. The defaults are for a single shard.

    Attributes:
        key: of this step, shard and micro-batch: for dropout and the like, which may depend on
            the shard. Randomness that must not uses `batch["keys"]`, a key per example.
        counts: divisors of the terms of the loss, counted over the whole global batch.
        step: int32[], optimizer steps done.
        total_steps: of the run.
        ema: the moving average of params and model state before this step; None if none is
            kept. Teachers use it.
        gather: `(tree) -> tree`, the rows of all shards in the order of the global batch, for
            losses that compare examples; differentiable. It covers one micro-batch only: see
            `Task.needs_whole_batch`.
        add_up: `(tree) -> tree`, the sum over all shards; differentiable.
    """

    key: Key[Array, ""]
    counts: Counts
    step: Int[Array, ""] | int = 0
    total_steps: int = 1
    ema: Weights | None = None
    gather: Callable[[PyTree], PyTree] = _unchanged
    add_up: Callable[[PyTree], PyTree] = _unchanged
