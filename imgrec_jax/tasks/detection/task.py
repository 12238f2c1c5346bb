"""Object detection: a box and a label for each object in an image."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Facts, LossOutput, PyTree, Score, Task
from imgrec_jax.ops.matching import match_detections
from imgrec_jax.tasks import forward
from imgrec_jax.tasks.detection.detector import Detector
from imgrec_jax.tasks.detection.detr import SetNetwork, set_detector
from imgrec_jax.tasks.detection.fcos import DenseNetwork, dense_detector
from imgrec_jax.tasks.detection.metrics import compute_metrics
from imgrec_jax.tasks.loss_terms import add_terms

_FOUND = 0.5  # least overlap of a box that counts as found


def detection(
    module: DenseNetwork | SetNetwork,
    facts: Facts,
    *,
    detections: int = 100,
    nms_iou: float = 0.6,
    min_score: float = 0.05,
) -> Task:
    """Return the task for the labels of `facts`; see `detect`."""
    return detect(
        module,
        num_classes=len(facts["label_names"]),
        label_names=facts["label_names"],
        detections=detections,
        nms_iou=nms_iou,
        min_score=min_score,
    )


def detect(
    module: DenseNetwork | SetNetwork,
    *,
    num_classes: int,
    label_names: Sequence[str] = (),
    detections: int = 100,
    nms_iou: float = 0.6,
    min_score: float = 0.05,
) -> Task:
    """Return the task of object detection, for a dense or a set-based network.

    A batch holds `image` (float[n, h, w, c]), `boxes` (float32[n, m, 4], x0, y0, x1, y1 in
    pixels), `box_label` (int32[n, m]), `box_mask` (bool[n, m], false in padding) and `box_ignore`
    (bool[n, m], true for crowds and the like: boxes that are neither learned nor scored). It may
    hold `box_area` (float32[n, m], the annotated area) and `image_size` (int32[n, 2], height and
    width), both in pixels of the image as stored, for scores by size.

    The loss is that of `dense_detector` or `set_detector`; each of its terms is divided by its own
    count, or by 1 if that is 0. Predictions are the best boxes of an image, padded with rows of
    score 0. Scores: those of `compute_metrics`.

    Args:
        module: the network.
        num_classes: number of labels.
        label_names: names for the scores of one label; by default numbers.
        detections: boxes to return per image, at most.
        nms_iou: overlap with a better box of the same label above which a box is dropped; not used
            for sets.
        min_score: least score of a returned box.
    """
    _check(detections, nms_iou, min_score)
    names = tuple(label_names) or tuple(map(str, range(num_classes)))
    settings = {"num_classes": num_classes, "detections": detections, "min_score": min_score}
    if isinstance(module, SetNetwork):
        detector = set_detector(module.queries, **settings)
    else:
        detector = dense_detector(module.strides, nms_iou=nms_iou, **settings)

    return Task(
        init=partial(forward.initialise, module),
        count=detector.count,
        loss=partial(_loss, module, detector),
        predict=partial(_predict, module, detector),
        metric_sums=_metric_sums,
        compute_metrics=partial(compute_metrics, names=names, terms=detector.terms),
        headline=Score("ap"),
        rows=rows,
    )


def _loss(
    module: forward.Network,
    detector: Detector,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
    context: Context,
) -> LossOutput:
    outputs, new_model_state = forward.apply_in_training(
        module, params, model_state, batch, context.key
    )
    sums = detector.sums(outputs, batch)
    share = add_terms(detector.terms, sums, context.counts)
    sums["examples"] = batch["mask"].sum(dtype=jnp.int32)
    return LossOutput(share, new_model_state, sums)


def _predict(
    module: forward.Network,
    detector: Detector,
    params: PyTree,
    model_state: PyTree,
    batch: Batch,
) -> dict[str, Array]:
    outputs = forward.apply(module, params, model_state, batch)
    boxes, scores, labels = detector.decode(outputs, *batch["image"].shape[1:3])
    # A box of NaN would match every box in COCO's evaluator; an empty one matches none.
    return {"boxes": jnp.nan_to_num(boxes, nan=0.0), "scores": scores, "labels": labels}


def _metric_sums(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    del outputs
    mask = batch["mask"]
    true = batch["box_mask"] & ~batch["box_ignore"] & mask[:, None]
    return {"examples": mask.sum(dtype=jnp.int32), "true_boxes": true.sum(dtype=jnp.int32)}


def rows(outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    """Return predictions and ground truth of each image, and which predictions match.

    `matched` (bool[n, d]) marks predictions that match a true box of their label with an overlap
    of one half, `set_aside` those that match an ignored one. If the batch holds `box_area` and
    `image_size`, `true_area` (float32[n, m]) and `pixel_area` (float32[n]), that of a pixel of the
    network's input, are in pixels of the images as stored.
    """
    truth = {
        "true_boxes": batch["boxes"],
        "true_labels": batch["box_label"],
        "true_mask": batch["box_mask"],
        "true_ignore": batch["box_ignore"],
        **_stored_areas(batch),
    }
    found = outputs["scores"] > 0
    matches = jax.vmap(partial(match_detections, threshold=_FOUND))(
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


def _stored_areas(batch: Batch) -> dict[str, Array]:
    """Return what a batch says of areas in pixels of its images as stored."""
    areas = {}
    if "box_area" in batch:
        areas["true_area"] = batch["box_area"]
    if "image_size" in batch:
        height, width = batch["image"].shape[1:3]
        areas["pixel_area"] = batch["image_size"].astype(jnp.float32).prod(-1) / (height * width)
    return areas


def _check(detections: int, nms_iou: float, min_score: float) -> None:
    if detections < 1:
        raise UsageError(f"expected task.detections of 1 or more, got {detections}; try 100")
    if not 0 <= nms_iou <= 1:
        raise UsageError(f"expected task.nms_iou from 0 to 1, got {nms_iou}; try 0.6")
    if not 0 < min_score < 1:
        raise UsageError(f"expected task.min_score above 0 and below 1, got {min_score}; try 0.05")
