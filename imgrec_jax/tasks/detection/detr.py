"""DETR head: each query of a set is matched to one box or to none."""

import functools
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Counts
from imgrec_jax.ops.boxes import clip, from_centres, giou, to_centres
from imgrec_jax.ops.losses import softmax_cross_entropy
from imgrec_jax.ops.matching import match_queries
from imgrec_jax.tasks.detection.detector import Detector
from imgrec_jax.tasks.forward import Network
from imgrec_jax.tasks.loss_terms import Term

# Carion et al. 2020, appendix A.4; the class has weight 1, also in the matching.
_L1, _GIOU, _NO_OBJECT = 5.0, 2.0, 0.1
_TERMS = (
    Term("class_loss", "class_weight"),
    Term("l1_loss", "boxes", _L1),
    Term("giou_loss", "boxes", _GIOU),
)


@runtime_checkable
class SetNetwork(Network, Protocol):
    """A network whose queries each predict one box or none, such as `models.detr.DETR`."""

    @property
    def queries(self) -> int: ...


def set_detector(queries: int, *, num_classes: int, detections: int, min_score: float) -> Detector:
    """Return the detection head of networks that predict a set of boxes.

    After each decoder layer, the queries of an image are matched one to one to its boxes so as to
    minimize the sum of - p(label), 5 · L1 and - 2 · GIoU. The loss has three terms, summed over
    the layers: cross-entropy of the classes, where queries without a box have the target "no
    object" and weight 0.1, divided by the sum of the weights; 5 · L1 of centres and sizes relative
    to the image, and 2 · (1 - GIoU), divided by the number of boxes (Carion et al. 2020, sections
    3.1 and A.2). As every box gets a query, the sum of the weights is
    boxes + 0.1 · (queries - boxes), which is counted first.

    Ignored boxes do not count as boxes. Scores are the probabilities of the most likely label.

    Args:
        queries: number of queries of the network.
        num_classes: number of labels.
        detections: boxes to return per image; at most one for each query.
        min_score: least score of a returned box.
    """

    def count(batch: Batch) -> Counts:
        _check_queries(batch["boxes"].shape[1], queries)
        boxes = _is_target(batch).sum(dtype=jnp.float32)
        all_queries = batch["mask"].sum(dtype=jnp.float32) * queries
        return {"boxes": boxes, "class_weight": boxes + _NO_OBJECT * (all_queries - boxes)}

    def sums(outputs: Mapping[str, Array], batch: Batch) -> dict[str, Array]:
        terms = _sums(outputs, batch, num_classes)
        counts = count(batch)
        return {**terms, **counts, "boxes": counts["boxes"].astype(jnp.int32)}

    def decode(outputs: Mapping[str, Array], height: int, width: int) -> tuple[Array, Array, Array]:
        size = jnp.asarray([width, height, width, height], jnp.float32)
        boxes = clip(from_centres(outputs["boxes"][:, -1]) * size.reshape(1, 1, 4), height, width)
        probabilities = jax.nn.softmax(outputs["logits"][:, -1])[..., :num_classes]
        score, row = jax.lax.top_k(probabilities.max(-1), min(detections, queries))
        label = jnp.take_along_axis(probabilities.argmax(-1), row, axis=1).astype(jnp.int32)
        keep = score >= min_score
        return (
            jnp.where(keep[..., None], jnp.take_along_axis(boxes, row[..., None], axis=1), 0.0),
            jnp.where(keep, score, 0.0),
            jnp.where(keep, label, 0),
        )

    return Detector(_TERMS, count, sums, decode)


def _is_target(batch: Batch) -> Array:
    """Return which boxes are targets, [n, m]."""
    return batch["box_mask"] & ~batch["box_ignore"] & batch["mask"][:, None]


def _sums(outputs: Mapping[str, Array], batch: Batch, num_classes: int) -> dict[str, Array]:
    """Return the terms of the loss, summed over images and decoder layers."""
    height, width = batch["image"].shape[1:3]
    size = jnp.asarray([width, height, width, height], jnp.float32)
    truth = (batch["boxes"] / size.reshape(1, 1, 4), batch["box_label"], _is_target(batch))
    layers = jax.vmap(functools.partial(_sums_of_one, num_classes), (0, 0, None, None, None))
    terms = jax.vmap(layers)(outputs["logits"], outputs["boxes"], *truth)
    valid = batch["mask"][:, None]
    return {name: jnp.where(valid, term, 0.0).sum() for name, term in terms.items()}


def _sums_of_one(
    num_classes: int,
    logits: Float[Array, "q k"],
    predicted: Float[Array, "q 4"],
    boxes: Float[Array, "m 4"],
    labels: Int[Array, " m"],
    mask: Bool[Array, " m"],
) -> dict[str, Array]:
    """Return the terms of the loss of one image after one layer; boxes are relative."""
    centres = to_centres(boxes)
    cost = _L1 * jnp.abs(centres[:, None] - predicted[None]).sum(-1)
    cost = cost - _GIOU * giou(boxes[:, None], from_centres(predicted)[None])
    cost = cost - jax.nn.softmax(logits)[:, labels].T
    query = match_queries(jax.lax.stop_gradient(cost), mask)
    matched = predicted[query]
    l1 = jnp.abs(matched - centres).sum(-1)
    giou_loss = 1.0 - giou(from_centres(matched), boxes)

    no_object = jnp.full(len(predicted), num_classes, jnp.int32)
    label = no_object.at[jnp.where(mask, query, len(predicted))].set(labels, mode="drop")
    weight = jnp.where(label == num_classes, _NO_OBJECT, 1.0)
    return {
        "class_loss": (weight * softmax_cross_entropy(logits, label)).sum(),
        "l1_loss": jnp.where(mask, l1, 0.0).sum(),
        "giou_loss": jnp.where(mask, giou_loss, 0.0).sum(),
    }


def _check_queries(boxes: int, queries: int) -> None:
    if boxes > queries:
        raise UsageError(
            f"expected as many queries as an image may have boxes, data.max_boxes={boxes}, got "
            f"{queries}; try --config.model.detr.queries={boxes} or a smaller data.max_boxes"
        )
