"""The interface between the training loop and what it trains.

A `Task` is a frozen record of pure functions, as an optax transformation is. What changes a
task (augmentation, mixup, adversarial training, distillation) is a function `Task -> Task`.
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
the source adds, such as a `vocabulary`. A task is made from them; every checkpoint holds them."""


class Score(NamedTuple):
    """A score by its name, and whether high values of it are good."""

    name: str
    higher_is_better: bool = True


class LossOutput(NamedTuple):
    """What one shard of a batch contributes.

    Attributes:
        loss: this shard's share: each of its terms divided by that term's *global* count, so
            that shards simply add.
        model_state: batch statistics and other variables that are not trained, updated.
        metric_sums: additive measurements; counts are int32.
    """

    loss: Float[Array, ""]
    model_state: PyTree
    metric_sums: dict[str, Array]


def nothing(outputs: PyTree, batch: Batch) -> dict[str, Array]:
    """Measure nothing: the rows of a task whose scores come from sums alone, or the other way."""
    del outputs, batch
    return {}


@dataclass(frozen=True)
class Task:
    """What to train, as pure functions. None sees a device or an optimizer.

    Attributes:
        init: `(key, batch) -> (params, model_state)`. The batch holds blank examples: only its
            shapes and types count.
        count: `(batch) -> {name: f32[]}`, what the terms of the loss are divided by. Never
            depends on parameters, so that it can be added over all shards beforehand.
        loss: `(params, model_state, batch, context) -> LossOutput`, in training.
        predict: `(params, model_state, batch) -> outputs`, in evaluation. A task that generates
            predicts from `batch["keys"]` alone where the batch holds nothing else.
        metric_sums: `(outputs, batch) -> {name: array}`, additive, padding left out.
        compute_metrics: `(sums, rows) -> {name: float}`, on the host, in numpy.
        headline: the score that selects the best step where no other is asked for.
        rows: `(outputs, batch) -> {name: array[n, ...]}`, per example, padding included.
        needs_whole_batch: the loss compares examples of a batch with each other, so that it
            cannot be worked through in micro-batches.
    """

    init: Callable[[Array, Batch], tuple[PyTree, PyTree]]
    count: Callable[[Batch], Counts]
    loss: Callable[[PyTree, PyTree, Batch, Context], LossOutput]
    predict: Callable[[PyTree, PyTree, Batch], PyTree]
    metric_sums: Callable[[PyTree, Batch], dict[str, Array]]
    compute_metrics: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, float]]
    headline: Score
    rows: Callable[[PyTree, Batch], dict[str, Array]] = nothing
    needs_whole_batch: bool = False
