"""Average precision of boxes by the rule of the Pascal VOC development kit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_OVERLAP = 0.5


def voc_ap50(rows: Mapping[str, Any]) -> float:
    """Return the mean over labels of the area under precision-recall (VOC from 2010 on).

    As in `VOCevaldet.m`, the true box of the label with the largest overlap decides what a
    prediction is, taken or not: difficult, it sets the prediction aside; taken by a prediction
    with a higher score, it makes it a false positive. (COCO gives the prediction to another box.)
    Overlaps are those of continuous boxes, without the kit's one pixel added to each side.
    """
    labels = np.unique(rows["true_labels"][rows["true_mask"] & ~rows["true_ignore"]])
    areas = [_area(rows, label) for label in labels]
    return float(np.mean(areas)) if areas else 0.0


def _area(rows: Mapping[str, Any], label: int) -> float:
    found = (rows["scores"] > 0) & (rows["labels"] == label)
    true = rows["true_mask"] & (rows["true_labels"] == label)
    right, aside = np.zeros(found.shape, bool), np.zeros(found.shape, bool)
    for image in np.flatnonzero(found.any(1) & true.any(1)):
        places = np.flatnonzero(found[image])
        places = places[np.argsort(-rows["scores"][image, places], kind="stable")]
        overlaps = _overlaps(rows["boxes"][image, places], rows["true_boxes"][image, true[image]])
        difficult = rows["true_ignore"][image, true[image]]
        right[image, places], aside[image, places] = _decide(overlaps, difficult)
    scored = found & ~aside
    order = np.argsort(-rows["scores"][scored], kind="stable")
    return average_precision(right[scored][order], int((true & ~rows["true_ignore"]).sum()))


def _decide(overlaps: np.ndarray, difficult: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which predictions are right, and which are set aside.

    Args:
        overlaps: float[d, m] of the predictions of an image, highest score first.
        difficult: bool[m], which true boxes are.
    """
    best = overlaps.argmax(1)  # of equal overlaps the first
    hits = overlaps.max(1) >= _OVERLAP
    aside = hits & difficult[best]
    right, seen = np.zeros(len(overlaps), bool), set()
    for prediction in np.flatnonzero(hits & ~aside):
        right[prediction] = best[prediction] not in seen
        seen.add(best[prediction])
    return right, aside


def _overlaps(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes [d, 4] and [m, 4]; two empty boxes have 0."""
    found, true = found.astype(np.float64)[:, None], true.astype(np.float64)[None]
    low, high = np.maximum(found[..., :2], true[..., :2]), np.minimum(found[..., 2:], true[..., 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    union = (found[..., 2:] - found[..., :2]).prod(-1) + (true[..., 2:] - true[..., :2]).prod(-1)
    union = union - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def average_precision(right: np.ndarray, true_boxes: int) -> float:
    """Return the area under the curve of the highest precision at each recall or beyond.

    Args:
        right: bool[d], whether each prediction matches a box, highest score first.
        true_boxes: number of true boxes.
    """
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[right].sum() / true_boxes)
