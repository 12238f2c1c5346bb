"""Detection scores on the host: COCO AP (by pycocotools) and Pascal VOC AP."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgrec_jax.core.printable import printable
from imgrec_jax.tasks.detection.intervals import ap_intervals
from imgrec_jax.tasks.detection.voc_precision import voc_ap50
from imgrec_jax.tasks.loss_terms import Term

Rows = Mapping[str, Any]

SIZES = ("small", "medium", "large")
"""Areas below 32², below 96² and above, in pixels of the image as stored.

True boxes have the area of their annotation, which for COCO is that of the outline."""

# (x0, y0, x1, y1) times this is (x, y, width, height).
_TO_XYWH = np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float64)


def compute_metrics(
    sums: Mapping[str, Any], rows: Rows, names: Sequence[str] = (), terms: Sequence[Term] = ()
) -> dict[str, float]:
    """Return the scores of a split from its rows, or the loss terms from their sums.

    `ap` is COCO's average precision over overlaps of 0.5 to 0.95 and all labels with a true box.
    `ap50` and `ap75` are at one overlap; `ap_small`, `ap_medium` and `ap_large` are for boxes of
    one size, in pixels of the images as stored. `voc_ap50` follows Pascal VOC's rule.
    `ap_of_NAME` and `ap50_of_NAME` are for one of the labels in `names`. Sizes and labels without a
    true box are omitted; without detections all scores are 0.
    """
    if not rows:
        losses = {
            term.name: term.weight * float(sums[term.name]) / (float(sums[term.count]) or 1.0)
            for term in terms
        }
        return {"loss": sum(losses.values()), **losses}
    precision = _coco_precision(rows)
    scores = {
        "ap": _mean(precision[:, :, :, 0]),
        "ap50": _mean(precision[0, :, :, 0]),
        "ap75": _mean(precision[5, :, :, 0]),
        "voc_ap50": voc_ap50(rows),
    }
    for number, size in enumerate(SIZES, start=1):
        if (precision[..., number] >= 0).any():
            scores[f"ap_{size}"] = _mean(precision[..., number])
    for name, found in _by_label(rows, precision, names).items():
        scores |= {f"ap_of_{name}": found["ap"], f"ap50_of_{name}": found["ap50"]}
    return scores


def report(rows: Rows, labels: Sequence[str]) -> dict[str, Any]:
    """Return AP, AP50 and the number of true boxes of each label, as JSON.

    `intervals` are 95 % intervals of AP and AP50, by the method in `interval_method`.
    """
    return {
        "classes": _by_label(rows, _coco_precision(rows), labels),
        "intervals": ap_intervals(coco_evaluation(rows), len(rows["true_mask"])),
        "interval_method": "percentile bootstrap over images",
    }


def _by_label(
    rows: Rows, precision: np.ndarray, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return AP, AP50 and the number of true boxes of each label that has true boxes."""
    true = rows["true_mask"] & ~rows["true_ignore"]
    counts = np.bincount(rows["true_labels"][true], minlength=len(names))
    present = map(int, np.unique(rows["true_labels"][rows["true_mask"]]))
    return {
        names[number]: {
            "ap": _mean(precision[:, :, place, 0]),
            "ap50": _mean(precision[0, :, place, 0]),
            "boxes": int(counts[number]),
        }
        for place, number in enumerate(present)
        if number < len(names) and counts[number]
    }


def lines(metrics: Mapping[str, float], report: Mapping[str, Any], width: int) -> list[str]:
    """Return the scores as text, followed by those of each label."""
    del width
    whole = {name: value for name, value in metrics.items() if "_of_" not in name}
    shown = []
    for name, value in whole.items():
        low, high = report.get("intervals", {}).get(name, (None, None))
        interval = ""
        if low is not None:
            interval = f"  95 % interval {low:.4f} to {high:.4f} ({report['interval_method']})"
        shown.append(f"  {name:<24} {value:.4f}{interval}")
    for label, scores in report.get("classes", {}).items():
        shown.append(
            f"  {printable(label):<24} AP {scores['ap']:.4f}  AP50 {scores['ap50']:.4f}  "
            f"({scores['boxes']:,} boxes)"
        )
    return shown


def _coco_precision(rows: Rows) -> np.ndarray:
    """Return precision [overlap, recall, label, size] of labels with any box; -1: undefined.

    At most 100 boxes per image count.
    """
    evaluation = coco_evaluation(rows)
    if evaluation is None:
        return np.full((10, 101, 1, 4), -1.0)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def coco_evaluation(rows: Rows) -> Any:
    """Return COCO's evaluator with all images matched; None if there is no true box."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = np.unique(rows["true_labels"][rows["true_mask"]])
    if not len(labels):
        return None
    truth: Any = COCO()  # its stubs expect their own list types
    truth.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(rows["true_mask"]))],
        "categories": [{"id": int(label)} for label in labels],
        "annotations": _true_annotations(rows),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found: Any = COCO()
        annotations = _found_annotations(rows, set(labels.tolist()))
        found.dataset = {**truth.dataset, "annotations": annotations}
        found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
    return evaluation


def _true_annotations(rows: Rows) -> list[dict[str, Any]]:
    images, places = np.nonzero(rows["true_mask"])
    boxes = rows["true_boxes"][images, places].astype(np.float64) @ _TO_XYWH
    areas = _areas(rows, images, boxes)
    if "true_area" in rows:
        areas = rows["true_area"][images, places]
    return [
        {
            "id": number,
            "image_id": int(image),
            "category_id": int(rows["true_labels"][image, place]),
            "bbox": box.tolist(),
            "area": float(area),
            "iscrowd": int(rows["true_ignore"][image, place]),
        }
        for number, (image, place, box, area) in enumerate(
            zip(images, places, boxes, areas, strict=True), start=1
        )
    ]


def _found_annotations(rows: Rows, labels: set[int]) -> list[dict[str, Any]]:
    images, places = np.nonzero(rows["scores"] > 0)
    boxes = rows["boxes"][images, places].astype(np.float64) @ _TO_XYWH
    areas = _areas(rows, images, boxes)
    return [
        {
            "id": number,
            "image_id": int(image),
            "category_id": int(rows["labels"][image, place]),
            "bbox": box.tolist(),
            "area": float(area),
            "iscrowd": 0,
            "score": float(rows["scores"][image, place]),
        }
        for number, (image, place, box, area) in enumerate(
            zip(images, places, boxes, areas, strict=True), start=1
        )
        if int(rows["labels"][image, place]) in labels
    ]


def _areas(rows: Rows, images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the areas of boxes (x, y, width, height) in pixels of their images as stored."""
    areas = boxes[:, 2] * boxes[:, 3]
    return areas * rows["pixel_area"][images] if "pixel_area" in rows else areas


def _mean(precision: np.ndarray) -> float:
    """Return the mean of defined values; -1 marks labels without a true box of the size."""
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else 0.0
