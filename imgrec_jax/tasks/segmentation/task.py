"""Semantic segmentation: a class per pixel."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Counts, Facts, LossOutput, PyTree, Score, Task
from imgrec_jax.ops import segmentation_losses, segmentation_metrics
from imgrec_jax.ops.prediction import predicted_class
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.class_weights import read_class_weights
from imgrec_jax.tasks.loss_terms import add_terms
from imgrec_jax.tasks.segmentation.losses import Logits, PixelLoss, read_losses


def segmentation(
    module: forward.Network,
    facts: Facts,
    *,
    loss: str = "cross_entropy",
    label_smoothing: float = 0.0,
    class_weights: str = "",
) -> Task:
    """Return the task for the labels of `facts`; see `segment` and `read_class_weights`."""
    return segment(
        module,
        num_classes=len(facts["label_names"]),
        label_names=facts["label_names"],
        loss=loss,
        label_smoothing=label_smoothing,
        class_weights=read_class_weights(class_weights, facts.get("class_counts", ())),
    )


def segment(
    module: forward.Network,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    loss: str = "cross_entropy",
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> Task:
    """Return the task of training `module(image) -> logits[n, h, w, num_classes]`.

    A batch holds `image`, `label_map` (int[n, h, w]) and `mask`. Pixels with a label outside
    0 .. num_classes - 1 are ignored in loss and scores.

    The loss is the sum of the terms of `loss`, such as "cross_entropy|dice(0.5)", each divided
    by its own count over the whole batch. With `class_weights`, cross-entropy and focal
    loss are weighted means over the pixels. Scores: `loss` (cross-entropy in nats without
    smoothing or weights, per pixel), `pixel_accuracy`; in evaluation `miou` (over the classes
    that occur), `iou_NAME` of each class that occurs, and `boundary_f1` (`segmentation_metrics`).
    """
    if num_classes < 2:
        raise UsageError(
            f"expected two or more classes, got {num_classes}; "
            "try data.mask_values with a name for each value"
        )
    parts = read_losses(loss)
    weights = tuple(class_weights)
    names = tuple(label_names) or tuple(map(str, range(num_classes)))
    return Task(
        init=partial(forward.initialise, module),
        count=partial(_count, num_classes=num_classes, class_weights=weights),
        loss=partial(
            _loss,
            module,
            parts,
            num_classes=num_classes,
            class_weights=weights,
            label_smoothing=label_smoothing,
        ),
        predict=partial(forward.apply, module),
        metric_sums=partial(_metric_sums, num_classes=num_classes),
        compute_metrics=partial(compute_metrics, names=names),
        headline=Score("miou"),
        rows=partial(_rows, num_classes=num_classes),
    )


def _count(batch: Batch, *, num_classes: int, class_weights: Sequence[float]) -> Counts:
    labels, valid = _labels(batch, num_classes)
    counts = {
        "pixels": valid.sum(dtype=jnp.float32),
        "images": valid.any((1, 2)).sum(dtype=jnp.float32),
    }
    if class_weights:
        weights = jnp.asarray(class_weights, jnp.float32)[jnp.where(valid, labels, 0)]
        counts["pixels"] = jnp.where(valid, weights, 0.0).sum()
    return counts


def _loss(
    module: forward.Network,
    parts: Sequence[PixelLoss],
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
    context: Context,
    *,
    num_classes: int,
    class_weights: Sequence[float],
    label_smoothing: float,
) -> LossOutput:
    logits, new_model_state = forward.apply_in_training(
        module, params, model_state, batch, context.key
    )
    arguments = logits, *_labels(batch, num_classes), class_weights, label_smoothing
    sums = {part.term.name: part.values(*arguments).sum() for part in parts}
    share = add_terms([part.term for part in parts], sums, context.counts)
    return LossOutput(share, new_model_state, _training_sums(logits, batch, num_classes))


def _training_sums(logits: Logits, batch: Batch, num_classes: int) -> dict[str, Array]:
    labels, valid = _labels(batch, num_classes)
    return {
        "examples": batch["mask"].sum(dtype=jnp.int32),
        "pixels": valid.sum(dtype=jnp.int32),
        "correct": (valid & (predicted_class(logits) == labels)).sum(dtype=jnp.int32),
        "loss": segmentation_losses.cross_entropy_sums(logits, labels, valid).sum(),
    }


def _metric_sums(logits: Logits, batch: Batch, *, num_classes: int) -> dict[str, Array]:
    labels, valid = _labels(batch, num_classes)
    predicted = predicted_class(logits)
    return {
        **_training_sums(logits, batch, num_classes),
        "confusion": segmentation_metrics.confusion(labels, predicted, valid, num_classes),
        # Not the sums of its rows: those lack pixels that have no predicted class.
        "class_pixels": jnp.zeros(num_classes, jnp.int32)
        .at[jnp.where(valid, labels, 0)]
        .add(valid.astype(jnp.int32)),
    }


def _rows(logits: Logits, batch: Batch, *, num_classes: int) -> dict[str, Array]:
    labels, valid = _labels(batch, num_classes)
    arguments = labels, predicted_class(logits), valid, num_classes
    return {
        "pixels": segmentation_metrics.pixel_counts(*arguments),
        "boundary": segmentation_metrics.boundary_counts(*arguments),
    }


def compute_metrics(
    sums: Mapping[str, Any], rows: Mapping[str, Any], names: Sequence[str]
) -> dict[str, float]:
    """Return the scores of a split from its sums and rows; without valid pixels they are NaN.

    In training, sums have no confusion and only loss and pixel accuracy are returned.
    """
    n = np.float64(sums["pixels"])
    with np.errstate(invalid="ignore", divide="ignore"):
        metrics = {
            "loss": float(sums["loss"] / n),
            "pixel_accuracy": float(sums["correct"] / n),
        }
    if "confusion" in sums:
        confusion = np.asarray(sums["confusion"])
        true = np.asarray(sums["class_pixels"])
        by_class = segmentation_metrics.ious(np.diag(confusion), true, confusion.sum(0))
        occurs = ~np.isnan(by_class)
        metrics["miou"] = float(by_class[occurs].mean()) if occurs.any() else float("nan")
        metrics |= {f"iou_{names[k]}": float(by_class[k]) for k in np.flatnonzero(occurs).tolist()}
    if "boundary" in rows:
        f1 = segmentation_metrics.boundary_f1(rows["boundary"])
        metrics["boundary_f1"] = float(np.nanmean(f1)) if not np.isnan(f1).all() else float("nan")
    return metrics


def _labels(batch: Batch, num_classes: int) -> tuple[Int32[Array, "n h w"], Bool[Array, "n h w"]]:
    """Return the labels of the pixels, and which of them are valid."""
    labels = batch["label_map"].astype(jnp.int32)
    return labels, (labels >= 0) & (labels < num_classes) & batch["mask"].reshape(-1, 1, 1)
