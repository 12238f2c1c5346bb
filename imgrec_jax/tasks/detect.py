"""Detection: a box and a label for each thing in a picture."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree, Task
from imgrec_jax.ops import dense
from imgrec_jax.ops.boxes import clip, giou, iou
from imgrec_jax.ops.focal import binary_focal_loss
from imgrec_jax.ops.matching import match_detections
from imgrec_jax.ops.nms import best_detections
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.detection_scores import compute_metrics

_CANDIDATES = 300  # pairs of place and label that go into suppression, per picture
_FOUND = 0.5  # overlap from which on a box counts as found


class DenseDetector(forward.Network, Protocol):
    """A network that says something of each place of a grid; `models.fcos.FCOS` is such."""

    @property
    def strides(self) -> tuple[int, ...]: ...


def detect(
    module: DenseDetector,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    detections: int = 100,
    nms_iou: float = 0.6,
    min_score: float = 0.05,
) -> Task:
    """Return the task of finding boxes with a dense detector.

    A batch holds `image` (float[n, h, w, c]), `boxes` (float32[n, m, 4], x0, y0, x1, y1 in
    pixels), `box_label` (int32[n, m]), `box_mask` (bool[n, m], false in padding) and `box_ignore`
    (bool[n, m], true for crowds and the like: boxes that are neither learned nor scored).

    The loss has three terms, each divided by the number of positive places: focal loss of the
    classes, 1 - GIoU of the boxes, and cross-entropy of the overlap that a box is expected to
    have (Tian et al. 2022, "FCOS: A Simple and Strong Anchor-Free Object Detector", section 2.3,
    with IoU as the quality). Positive places depend on the boxes of the batch and the grid alone,
    so that they are counted before anything else. A batch without any has 1.

    Predictions are the `detections` best boxes of a picture, with rows of score 0 behind them.
    Scores: those of `detection_scores`.

    Args:
        module: the network.
        num_classes: how many labels there are.
        label_names: what they are called in scores of one label; numbers where not told.
        detections: boxes to return of a picture.
        nms_iou: the overlap with a better box of its label above which a box is dropped.
        min_score: the least score of a box that is returned.
    """
    _check(detections, nms_iou, min_score)
    names = tuple(label_names) or tuple(map(str, range(num_classes)))

    def init(key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
        return forward.initialise(module, key, batch)

    def count(batch: Batch) -> Counts:
        _, targets = _targets(batch, module.strides)
        positive = (targets.truth >= 0) & batch["mask"][:, None]
        return {"positives": positive.sum(dtype=jnp.float32)}

    def loss(
        params: PyTree, model_state: PyTree, batch: Batch, key: Array, counts: Counts
    ) -> LossOutput:
        said, new_model_state = forward.apply_in_training(module, params, model_state, batch, key)
        sums = _loss_sums(said, batch, module.strides, num_classes)
        total = sums["focal_loss"] + sums["box_loss"] + sums["quality_loss"]
        share = total / jnp.maximum(counts["positives"], 1.0)
        sums["examples"] = batch["mask"].sum(dtype=jnp.int32)
        return LossOutput(share, new_model_state, sums)

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> dict[str, Array]:
        said = forward.apply(module, params, model_state, batch)
        height, width = batch["image"].shape[1:3]
        places = dense.grid(height, width, module.strides)
        boxes = clip(dense.boxes_around(places, said["distances"]), height, width)
        scores = jnp.sqrt(jax.nn.sigmoid(said["logits"]) * jax.nn.sigmoid(said["quality"]))

        def one(boxes: Array, scores: Array) -> tuple[Array, Array, Array]:
            return best_detections(
                boxes,
                scores,
                candidates=max(_CANDIDATES, detections),
                detections=detections,
                threshold=nms_iou,
                min_score=min_score,
            )

        boxes, scores, labels = jax.vmap(one)(boxes, scores)
        return {"boxes": boxes, "scores": scores, "labels": labels}

    def metric_sums(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
        del outputs
        mask = batch["mask"]
        true = batch["box_mask"] & ~batch["box_ignore"] & mask[:, None]
        return {"examples": mask.sum(dtype=jnp.int32), "true_boxes": true.sum(dtype=jnp.int32)}

    def scores(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
        return compute_metrics(sums, rows, names)

    return Task(init, count, loss, predict, metric_sums, rows, scores, "ap")


def rows(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    """Return predictions and truth of each picture, with what the predictions have found.

    `matched` (bool[n, d]) are those that found a true box of their label with an overlap of one
    half, `set_aside` those that fell on an ignored one.
    """
    truth = {
        "true_boxes": batch["boxes"],
        "true_labels": batch["box_label"],
        "true_mask": batch["box_mask"],
        "true_ignore": batch["box_ignore"],
    }
    found = outputs["scores"] > 0
    matches = jax.vmap(functools.partial(match_detections, threshold=_FOUND))(
        outputs["boxes"],
        outputs["labels"],
        found,
        batch["boxes"],
        batch["box_label"],
        batch["box_mask"],
        batch["box_ignore"],
    )
    matched = (matches.truth >= 0) & ~matches.ignored
    return {**outputs, **truth, "matched": matched, "set_aside": matches.ignored}


def _targets(batch: Batch, strides: tuple[int, ...]) -> tuple[dense.Grid, dense.Targets]:
    """Return the grid, and what its places are to say in each picture, [n, l]."""
    height, width = batch["image"].shape[1:3]
    places = dense.grid(height, width, strides)
    targets = jax.vmap(functools.partial(dense.assign_places, places))(
        batch["boxes"], batch["box_mask"], batch["box_ignore"]
    )
    return places, targets


def _loss_sums(
    said: Mapping[str, Array], batch: Batch, strides: tuple[int, ...], num_classes: int
) -> dict[str, Array]:
    """Return the terms of the loss, added up over places and pictures, and the positive places."""
    places, targets = _targets(batch, strides)
    valid = batch["mask"][:, None]
    positive = (targets.truth >= 0) & valid
    place = jnp.maximum(targets.truth, 0)
    label = jnp.take_along_axis(batch["box_label"], place, axis=1)
    box = jnp.take_along_axis(batch["boxes"], place[..., None], axis=1)

    wanted = jax.nn.one_hot(label, num_classes, dtype=jnp.float32) * positive[..., None].astype(
        jnp.float32
    )
    focal = binary_focal_loss(said["logits"], wanted).sum(-1)
    predicted = dense.boxes_around(places, said["distances"])
    # In place of boxes that nobody asks for, one with a harmless gradient.
    harmless = jnp.broadcast_to(jnp.asarray([0.0, 0.0, 1.0, 1.0], jnp.float32), predicted.shape)
    predicted = jnp.where(positive[..., None], predicted, harmless)
    overlap = jax.lax.stop_gradient(iou(predicted, box))
    quality = said["quality"][..., 0]
    doubt = jax.nn.softplus(quality) - overlap * quality
    return {
        "focal_loss": jnp.where(targets.counted & valid, focal, 0.0).sum(),
        "box_loss": jnp.where(positive, 1.0 - giou(predicted, box), 0.0).sum(),
        "quality_loss": jnp.where(positive, doubt, 0.0).sum(),
        "positives": positive.sum(dtype=jnp.int32),
    }


def _check(detections: int, nms_iou: float, min_score: float) -> None:
    if detections < 1:
        raise UsageError(f"expected task.detections of 1 or more, got {detections}; try 100")
    if not 0 <= nms_iou <= 1:
        raise UsageError(f"expected task.nms_iou from 0 to 1, got {nms_iou}; try 0.6")
    if not 0 < min_score < 1:
        raise UsageError(f"expected task.min_score above 0 and below 1, got {min_score}; try 0.05")
