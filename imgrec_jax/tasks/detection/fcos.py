"""FCOS head: each location of a grid may predict one box."""

import functools
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array

from imgrec_jax.core.task import Batch, Counts
from imgrec_jax.ops import fcos_targets
from imgrec_jax.ops.boxes import clip, giou, iou
from imgrec_jax.ops.losses import binary_focal_loss
from imgrec_jax.ops.nms import best_detections
from imgrec_jax.tasks.detection.detector import Detector
from imgrec_jax.tasks.forward import Network
from imgrec_jax.tasks.loss_terms import Term

_CANDIDATES = 300  # pairs of location and label that enter suppression, per image
_TERMS = tuple(Term(name, "positives") for name in ("focal_loss", "box_loss", "quality_loss"))


class DenseNetwork(Network, Protocol):
    """A network that predicts at each location of a grid, such as `models.fcos.FCOS`."""

    @property
    def strides(self) -> tuple[int, ...]: ...


def dense_detector(
    strides: tuple[int, ...],
    *,
    num_classes: int,
    detections: int,
    nms_iou: float,
    min_score: float,
) -> Detector:
    """Return the detection head of networks that predict at the locations of grids.

    The loss has three terms, each divided by the number of positive locations: focal loss of the
    classes, 1 - GIoU of the boxes, and cross-entropy of the predicted overlap of a box (Tian et
    al. 2022, "FCOS: A Simple and Strong Anchor-Free Object Detector", section 2.3, with IoU as the
    quality). Positive locations depend only on the boxes of the batch and the grid, so that they
    are counted first. Predictions in ignored boxes have no loss.

    Args:
        strides: pixels between the locations of each grid.
        num_classes: number of labels.
        detections: boxes to return per image.
        nms_iou: overlap with a better box of the same label above which a box is dropped.
        min_score: least score of a returned box.
    """

    def count(batch: Batch) -> Counts:
        _, targets = _targets(batch, strides)
        positive = (targets.box_index >= 0) & batch["mask"][:, None]
        return {"positives": positive.sum(dtype=jnp.float32)}

    def decode(outputs: Mapping[str, Array], height: int, width: int) -> tuple[Array, Array, Array]:
        locations = fcos_targets.grid(height, width, strides)
        boxes = clip(fcos_targets.decode_boxes(locations, outputs["distances"]), height, width)
        scores = jnp.sqrt(jax.nn.sigmoid(outputs["logits"]) * jax.nn.sigmoid(outputs["quality"]))
        best = functools.partial(
            best_detections,
            candidates=max(_CANDIDATES, detections),
            detections=detections,
            threshold=nms_iou,
            min_score=min_score,
        )
        return jax.vmap(best)(boxes, scores)

    sums = functools.partial(_sums, strides=strides, num_classes=num_classes)
    return Detector(_TERMS, count, sums, decode)


def _targets(
    batch: Batch, strides: tuple[int, ...]
) -> tuple[fcos_targets.Grid, fcos_targets.Targets]:
    """Return the grid, and the targets of its locations in each image, [n, l]."""
    height, width = batch["image"].shape[1:3]
    locations = fcos_targets.grid(height, width, strides)
    targets = jax.vmap(functools.partial(fcos_targets.assign_targets, locations))(
        batch["boxes"], batch["box_mask"], batch["box_ignore"]
    )
    return locations, targets


def _sums(
    outputs: Mapping[str, Array], batch: Batch, *, strides: tuple[int, ...], num_classes: int
) -> dict[str, Array]:
    """Return the terms of the loss, summed over locations and images, and the positive count."""
    locations, targets = _targets(batch, strides)
    valid = batch["mask"][:, None]
    positive = (targets.box_index >= 0) & valid
    box_index = jnp.maximum(targets.box_index, 0)
    label = jnp.take_along_axis(batch["box_label"], box_index, axis=1)
    box = jnp.take_along_axis(batch["boxes"], box_index[..., None], axis=1)

    class_targets = jax.nn.one_hot(label, num_classes, dtype=jnp.float32)
    class_targets = jnp.where(positive[..., None], class_targets, 0.0)
    focal = binary_focal_loss(outputs["logits"], class_targets).sum(-1)
    predicted = fcos_targets.decode_boxes(locations, outputs["distances"])
    # Replace boxes of negative locations by one with a finite gradient.
    unit_box = jnp.broadcast_to(jnp.asarray([0.0, 0.0, 1.0, 1.0], jnp.float32), predicted.shape)
    predicted = jnp.where(positive[..., None], predicted, unit_box)
    overlap = jax.lax.stop_gradient(iou(predicted, box))
    quality = outputs["quality"][..., 0]
    quality_bce = jax.nn.softplus(quality) - overlap * quality
    return {
        "focal_loss": jnp.where(targets.has_loss & valid, focal, 0.0).sum(),
        "box_loss": jnp.where(positive, 1.0 - giou(predicted, box), 0.0).sum(),
        "quality_loss": jnp.where(positive, quality_bce, 0.0).sum(),
        "positives": positive.sum(dtype=jnp.int32),
    }
