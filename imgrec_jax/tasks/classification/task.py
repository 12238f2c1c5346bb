"""Classification: one label per image."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Counts, Facts, LossOutput, PyTree, Score, Task
from imgrec_jax.ops.losses import softmax_cross_entropy
from imgrec_jax.ops.prediction import NO_CLASS, predicted_class
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.class_weights import read_class_weights


def classification(
    module: forward.Network, facts: Facts, *, label_smoothing: float = 0.0, class_weights: str = ""
) -> Task:
    """Return the task for the labels of `facts`; see `classify` and `read_class_weights`."""
    return classify(
        module,
        num_classes=len(facts["label_names"]),
        label_smoothing=label_smoothing,
        class_weights=read_class_weights(class_weights, facts.get("class_counts", ())),
    )


def classify(
    module: forward.Network,
    *,
    num_classes: int,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> Task:
    """Return the task of training `module(image) -> logits[n, num_classes]`.

    A batch holds `image` (float[n, h, w, c]), `label` (int32[n], 0 .. num_classes - 1) and
    `mask`. For a mixed image, `label_weight` (float32[n]) weights the loss of `label`, and the
    rest weights that of `partner_label`. Scores: `loss` (cross-entropy in nats, without
    smoothing or class weights), `accuracy` (top-1), `top5_accuracy` (with fewer than five
    classes: 1.0). An image whose true class ties with others counts as wrong if a class of
    lower number has the same logit, and an image with a logit of NaN always.

    With `class_weights`, one per class, the loss is the weighted mean of the losses:
    Σ weight · loss / Σ weight over the batch. The divisor uses only each row's own label,
    mixed or not.
    """
    if num_classes < 2:
        raise UsageError(
            f"expected two or more classes, got {num_classes}; "
            "try data with a folder or a label for each"
        )
    if not 0 <= label_smoothing < 1:
        raise UsageError(
            f"expected task.label_smoothing from 0 to below 1, got {label_smoothing}; try 0.1"
        )
    weights = tuple(class_weights)
    return Task(
        init=partial(forward.initialise, module),
        count=partial(_count, class_weights=weights),
        loss=partial(_loss, module, label_smoothing=label_smoothing, class_weights=weights),
        predict=partial(forward.apply, module),
        metric_sums=partial(_metric_sums, num_classes=num_classes),
        compute_metrics=compute_metrics,
        headline=Score("accuracy"),
        rows=_rows,
    )


def _count(batch: Batch, *, class_weights: Sequence[float]) -> Counts:
    counts = {"examples": batch["mask"].sum(dtype=jnp.float32)}
    if class_weights:
        weights = jnp.asarray(class_weights, jnp.float32)[batch["label"]]
        counts["weight"] = jnp.where(batch["mask"], weights, 0.0).sum()
    return counts


def _loss(
    module: forward.Network,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
    context: Context,
    *,
    label_smoothing: float,
    class_weights: Sequence[float],
) -> LossOutput:
    logits, new_model_state = forward.apply_in_training(
        module, params, model_state, batch, context.key
    )
    losses = _cross_entropy(logits, batch, label_smoothing, class_weights)
    # A batch of padding only has count 0 and must have gradient 0, not 0 / 0.
    count = context.counts["weight" if class_weights else "examples"]
    total = jnp.where(count > 0, count, 1.0)
    share = jnp.where(batch["mask"], losses, 0.0).sum() / total
    return LossOutput(share, new_model_state, _training_sums(logits, batch))


def _training_sums(logits: Float[Array, "n k"], batch: Batch) -> dict[str, Array]:
    mask, rank = batch["mask"], _rank(logits, batch["label"])
    return {
        "examples": mask.sum(dtype=jnp.int32),
        "correct": (mask & (rank < 1)).sum(dtype=jnp.int32),
        "top5_correct": (mask & (rank < 5)).sum(dtype=jnp.int32),
        "loss": jnp.where(mask, _cross_entropy(logits, batch), 0.0).sum(),
    }


def _metric_sums(
    logits: Float[Array, "n k"], batch: Batch, *, num_classes: int
) -> dict[str, Array]:
    """Return the sums of training, and the confusion, which training leaves out for its size."""
    confusion = jnp.zeros((num_classes, num_classes), jnp.int32)
    predicted = predicted_class(logits)
    counted = (batch["mask"] & (predicted != NO_CLASS)).astype(jnp.int32)
    return {
        **_training_sums(logits, batch),
        "confusion": confusion.at[batch["label"], predicted].add(counted),
    }


def _rows(logits: Float[Array, "n k"], batch: Batch) -> dict[str, Array]:
    predicted = predicted_class(logits)
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    return {
        "label": batch["label"],
        "prediction": predicted,
        "confidence": jnp.where(predicted == NO_CLASS, 0.0, probabilities.max(-1)),
    }


def compute_metrics(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a split from its sums; without examples they are NaN."""
    del rows
    n = np.float64(sums["examples"])
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "loss": float(sums["loss"] / n),
            "accuracy": float(sums["correct"] / n),
            "top5_accuracy": float(sums["top5_correct"] / n),
        }


def _cross_entropy(
    logits: Float[Array, "n k"],
    batch: Batch,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> Float[Array, " n"]:
    """Return the loss of each row; for a mixed row, weighted over its two labels."""

    def of(labels: Array) -> Float[Array, " n"]:
        losses = softmax_cross_entropy(logits, labels, label_smoothing)
        if not class_weights:
            return losses
        return losses * jnp.asarray(class_weights, jnp.float32)[labels]

    if "label_weight" not in batch:
        return of(batch["label"])
    part = batch["label_weight"]
    return part * of(batch["label"]) + (1.0 - part) * of(batch["partner_label"])


def _rank(logits: Float[Array, "n k"], labels: Array) -> Array:
    """Return how many classes rank above the true one, int32[n]; with NaN, more than ever count."""
    true = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1])[None, :] < labels[:, None]
    before = ~(logits <= true) | ((logits == true) & earlier)
    rank = before.sum(-1, dtype=jnp.int32)
    return jnp.where(predicted_class(logits) == NO_CLASS, jnp.iinfo(jnp.int32).max, rank)
