"""Semantic segmentation: a class per pixel."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.task import Batch, Counts, Facts, LossOutput, PyTree, Score, Task
from imgrec_jax.ops import segmentation_losses, segmentation_metrics
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.class_weights import read_class_weights
from imgrec_jax.tasks.loss_terms import Term, add_terms

Logits = Float[Array, "n h w k"]


class PixelLoss(NamedTuple):
    """A term of the loss, and the function for its values.

    Attributes:
        term: its name, its weight and the count that divides it: "pixels" (valid ones, or the sum
            of their weights if classes have weights) or "images" (those with a valid pixel).
        values: `(logits, labels, valid, class weights, label smoothing) -> float32[n]`.
    """

    term: Term
    values: Callable[..., Float[Array, " n"]]


def cross_entropy(weight: float = 1.0) -> PixelLoss:
    """Return the loss term: mean cross-entropy over valid pixels."""
    term = Term("cross_entropy", "pixels", weight)
    return PixelLoss(term, segmentation_losses.cross_entropy_sums)


def focal(weight: float = 1.0, gamma: float = 2.0) -> PixelLoss:
    """Return the loss term: mean of `segmentation_losses.focal_sums` over valid pixels."""
    if gamma < 0:
        raise UsageError(f"expected focal(gamma=0 or more), got {gamma}; try focal(gamma=2.0)")

    def values(logits: Logits, labels: Array, valid: Array, weights: Any, _: float) -> Array:
        return segmentation_losses.focal_sums(logits, labels, valid, weights, gamma)

    return PixelLoss(Term("focal", "pixels", weight), values)


def dice(weight: float = 1.0) -> PixelLoss:
    """Return the loss term: mean over images of `segmentation_losses.dice_losses`."""
    return _over_images("dice", weight, segmentation_losses.dice_losses)


def lovasz(weight: float = 1.0) -> PixelLoss:
    """Return the loss term: mean over images of `segmentation_losses.lovasz_losses`."""
    return _over_images("lovasz", weight, segmentation_losses.lovasz_losses)


def _over_images(name: str, weight: float, losses: Callable[..., Array]) -> PixelLoss:
    term = Term(name, "images", weight)
    return PixelLoss(term, lambda logits, labels, valid, *_: losses(logits, labels, valid))


LOSSES: Mapping[str, Callable[..., PixelLoss]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "lovasz": lovasz,
}


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
            f"expected two or more classes to tell apart, got {num_classes}; "
            "try data.mask_values with a name for each value"
        )
    parts = [bind_call("loss", call, LOSSES) for call in parse_pipeline(loss)]
    # Numbered, since a loss may occur twice, as in focal(gamma=1)|focal(gamma=2).
    terms = [dataclasses.replace(part.term, name=str(k)) for k, part in enumerate(parts)]
    if not terms or any(term.weight < 0 for term in terms):
        raise UsageError(
            f"expected task.segment.loss with terms of weight 0 or more, got '{loss}'; "
            "try 'cross_entropy|dice(0.5)'"
        )
    class_weights = tuple(class_weights)
    names = tuple(label_names) or tuple(map(str, range(num_classes)))

    def valid_pixels(batch: Batch) -> Array:
        labels = batch["label_map"]
        return (labels >= 0) & (labels < num_classes) & batch["mask"].reshape(-1, 1, 1)

    def init(key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
        return forward.initialise(module, key, batch)

    def count(batch: Batch) -> Counts:
        valid = valid_pixels(batch)
        counts = {
            "pixels": valid.sum(dtype=jnp.float32),
            "images": valid.any((1, 2)).sum(dtype=jnp.float32),
        }
        if class_weights:
            labels = jnp.where(valid, _labels(batch), 0)
            weights = jnp.asarray(class_weights, jnp.float32)[labels]
            counts["pixels"] = jnp.where(valid, weights, 0.0).sum()
        return counts

    def train_loss(
        params: PyTree, model_state: PyTree, batch: Batch, context: Context
    ) -> LossOutput:
        logits, new_model_state = forward.apply_in_training(
            module, params, model_state, batch, context.key
        )
        valid, labels = valid_pixels(batch), _labels(batch)
        given = (logits, labels, valid, class_weights, label_smoothing)
        sums = {str(k): part.values(*given).sum() for k, part in enumerate(parts)}
        share = add_terms(terms, sums, context.counts)
        sums = metric_sums(logits, batch)
        del sums["confusion"]
        return LossOutput(share, new_model_state, sums)

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> Logits:
        return forward.apply(module, params, model_state, batch)

    def metric_sums(logits: Logits, batch: Batch) -> dict[str, Array]:
        valid, labels = valid_pixels(batch), _labels(batch)
        said = logits.argmax(-1).astype(jnp.int32)
        return {
            "examples": batch["mask"].sum(dtype=jnp.int32),
            "pixels": valid.sum(dtype=jnp.int32),
            "correct": (valid & (said == labels)).sum(dtype=jnp.int32),
            "loss": segmentation_losses.cross_entropy_sums(logits, labels, valid).sum(),
            "confusion": segmentation_metrics.confusion(labels, said, valid, num_classes),
        }

    def rows(logits: Logits, batch: Batch) -> dict[str, Array]:
        valid, labels = valid_pixels(batch), _labels(batch)
        said = logits.argmax(-1).astype(jnp.int32)
        return {
            "pixels": segmentation_metrics.pixel_counts(labels, said, valid, num_classes),
            "boundary": segmentation_metrics.boundary_counts(labels, said, valid, num_classes),
        }

    def scores(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
        return compute_metrics(sums, rows, names)

    return Task(init, count, train_loss, predict, metric_sums, scores, Score("miou"), rows)


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
        by_class = segmentation_metrics.ious(np.diag(confusion), confusion.sum(1), confusion.sum(0))
        occurs = ~np.isnan(by_class)
        metrics["miou"] = float(by_class[occurs].mean()) if occurs.any() else float("nan")
        metrics |= {f"iou_{names[k]}": float(by_class[k]) for k in np.flatnonzero(occurs).tolist()}
    if "boundary" in rows:
        f1 = segmentation_metrics.boundary_f1(rows["boundary"])
        metrics["boundary_f1"] = float(np.nanmean(f1)) if not np.isnan(f1).all() else float("nan")
    return metrics


def _labels(batch: Batch) -> Array:
    return batch["label_map"].astype(jnp.int32)
