"""The interface between the training loop and what it trains.

A `Task` is a frozen record of pure functions, like an optax transformation. Whatever changes a task
(augmentation, mixup, adversarial training, distillation) is a function `Task -> Task`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from imgrec_jax.core.context import Context, Counts, PyTree

Batch = Mapping[str, Array]
"""Arrays with a leading example axis `n`: the fields of the examples (see `core.fields`), and

mask (bool[n], false in padding rows), index (int32[n], the row in the source), epoch (int32[n])
and keys, a random key per example: in training a function of (seed, epoch, index), in evaluation
of (seed, index).
"""
Facts = Mapping[str, Any]
"""What the inputs and outputs of a network mean, as JSON: `label_names`, `class_counts`,
`image_shape`, `mean` and `std` of pixels in 0 .. 1, `element_spec` (see `core.facts`), and what
the source adds, such as a `vocabulary`. A task is built from them; every checkpoint stores them."""


class Score(NamedTuple):
    """The name of a score, and whether higher values are better."""

    name: str
    higher_is_better: bool = True


class LossOutput(NamedTuple):
    """The contribution of one shard of a batch.

    Attributes:
        loss: this shard's share: each of its terms divided by that term's *global* count, so
            that the shares of all shards add up to the loss.
        model_state: batch statistics and other variables that are not trained, updated.
        metric_sums: additive measurements; counts are int32.
    """

    loss: Float[Array, ""]
    model_state: PyTree
    metric_sums: dict[str, Array]


def no_rows(outputs: PyTree, batch: Batch) -> dict[str, Array]:
    """Measure nothing: for tasks whose scores come from sums alone, or from rows alone."""
    del outputs, batch
    return {}


@dataclass(frozen=True)
class Task:
    """What to train, as pure functions that are independent of devices and the optimizer.

    Attributes:
        init: `(key, batch) -> (params, model_state)`. The batch holds blank examples: only its
            shapes and types matter.
        count: `(batch) -> {name: f32[]}`, the divisors of the terms of the loss. Never depends
            on parameters, so that it can be summed over all shards beforehand.
        loss: `(params, model_state, batch, context) -> LossOutput`, in training.
        predict: `(params, model_state, batch) -> outputs`, arrays [n, ...], in evaluation. A
            generative task predicts from `batch["keys"]` alone if the batch holds nothing else.
        metric_sums: `(outputs, batch) -> {name: array}`, additive, without padding. In evaluation,
            sums that are no whole numbers are made for each example and added on the host, in
            float64 and in the order of the data, so that batches and devices do not change them.
            For large ones, such as Σ f fᵀ, return f as rows.
        compute_metrics: `(sums, rows) -> {name: float}`, on the host, in numpy.
        headline: the score that selects the best step by default.
        rows: `(outputs, batch) -> {name: array[n, ...]}`, per example, padding included.
        needs_whole_batch: the loss compares examples of a batch with each other, so the batch
            cannot be processed in micro-batches.
    """

    init: Callable[[Array, Batch], tuple[PyTree, PyTree]]
    count: Callable[[Batch], Counts]
    loss: Callable[[PyTree, PyTree, Batch, Context], LossOutput]
    predict: Callable[[PyTree, PyTree, Batch], PyTree]
    metric_sums: Callable[[PyTree, Batch], dict[str, Array]]
    compute_metrics: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, float]]
    headline: Score
    rows: Callable[[PyTree, Batch], dict[str, Array]] = no_rows
    needs_whole_batch: bool = False
