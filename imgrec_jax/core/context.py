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
    """What the training step tells a loss. The defaults are those of one shard that sees it all.

    Attributes:
        key: of this step, shard and micro-batch: for dropout and the like, which may depend on
            the shard. What must not has `batch["keys"]`, a key per example.
        counts: what the terms of the loss are divided by, of the whole global batch.
        step: int32[], optimizer steps done.
        total_steps: of the run.
        ema: the moving average of params and model state as it stood before this step; None
            where none is kept. A teacher reads it.
        gather: `(tree) -> tree`, the rows of all shards in the order of the global batch, for
            losses that compare examples; differentiable. Of micro-batches it knows one alone: see
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
