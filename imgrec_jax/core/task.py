"""The one interface between the training loop and everything it may train.

A `Task` is a frozen record of pure functions, as an optax transformation is. What changes a
task (augmentation, mixup, adversarial training, distillation) is a function `Task -> Task`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Float

PyTree = Any
Batch = Mapping[str, Array]
"""Arrays with a leading example axis `n`, among them:

image (uint8 or float, [n, h, w, c]), mask (bool[n], false in padding rows), index (int32[n],
the row in the source) and epoch (int32[n]); in training keys (a random key per example). What
else it holds is between source and task.
"""
Counts = dict[str, Float[Array, ""]]


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


@dataclass(frozen=True)
class Task:
    """What to train, as pure functions. No function sees a device, a step or an optimizer.

    Attributes:
        init: `(key, batch) -> (params, model_state)`.
        count: `(batch) -> {name: f32[]}`, what the terms of the loss are divided by. Never
            depends on parameters, so that it can be added over all shards beforehand.
        loss: `(params, model_state, batch, key, counts) -> LossOutput`, in training.
        predict: `(params, model_state, batch) -> outputs`, in evaluation.
        metric_sums: `(outputs, batch) -> {name: array}`, additive, padding left out.
        rows: `(outputs, batch) -> {name: array[n, ...]}`, per example, padding included.
        compute_metrics: `(sums, rows) -> {name: float}`, on the host, in numpy.
        headline: the score that selects the best step where no other is asked for; higher is
            better.
    """

    init: Callable[[Array, Batch], tuple[PyTree, PyTree]]
    count: Callable[[Batch], Counts]
    loss: Callable[[PyTree, PyTree, Batch, Array, Counts], LossOutput]
    predict: Callable[[PyTree, PyTree, Batch], PyTree]
    metric_sums: Callable[[PyTree, Batch], dict[str, Array]]
    rows: Callable[[PyTree, Batch], dict[str, Array]]
    compute_metrics: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, float]]
    headline: str
