"""Segmentation report: per-class scores as JSON and text, and drawings of label maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgrec_jax.core.palette import color
from imgrec_jax.core.text_table import shorten, table
from imgrec_jax.ops import classification_metrics, segmentation_metrics

_NAME_WIDTH = 30
_OPACITY = 0.5
_SUMMARY = ("loss", "pixel_accuracy", "miou", "boundary_f1")


def report(rows: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, Any]:
    """Return the scores of each class as JSON; IoU is null for an absent class.

    `intervals` are 95 % intervals, by the method in `interval_method`.

    Args:
        rows: `pixels` (int[n, k, 3], see `segmentation_metrics.pixel_counts`).
        labels: the class names, in the order of the numbers.
    """
    hits, true, predicted = rows["pixels"].sum(0, dtype=np.int64).T
    by_class = segmentation_metrics.ious(hits, true, predicted)
    return {
        "n": len(rows["pixels"]),
        "pixels": int(true.sum()),
        "intervals": _intervals(rows["pixels"]),
        "interval_method": "percentile bootstrap over images",
        "classes": [
            {
                "name": name,
                "pixels": int(true[k]),
                "predicted": int(predicted[k]),
                "iou": None if np.isnan(by_class[k]) else float(by_class[k]),
            }
            for k, name in enumerate(labels)
        ],
    }


def _intervals(pixels: np.ndarray) -> dict[str, list[float]]:
    """Return the 95 % intervals of mIoU and pixel accuracy from the counts of each image."""
    n, classes, _ = pixels.shape
    if not pixels[..., 1].any():
        return {}
    drawn = classification_metrics.bootstrap_counts(n).astype(np.float64)
    sums = (drawn @ pixels.reshape(n, -1).astype(np.float64)).reshape(-1, classes, 3)
    hits, true, predicted = np.moveaxis(sums, -1, 0)
    by_class, occurs = segmentation_metrics.ious(hits, true, predicted), true > 0
    with np.errstate(invalid="ignore"):  # a resample may hold only images without a valid pixel
        resampled = {
            "pixel_accuracy": hits.sum(1) / true.sum(1),
            "miou": np.where(occurs, by_class, 0.0).sum(1) / occurs.sum(1),
        }
    return {
        name: list(classification_metrics.percentile_interval(of)) for name, of in resampled.items()
    }


def lines(metrics: Mapping[str, float], report: Mapping[str, Any], width: int = 100) -> list[str]:
    """Return metrics and report as text of at most `width` columns."""
    head = []
    for name in _SUMMARY:
        low, high = report["intervals"].get(name, (None, None))
        interval = ""
        if low is not None:
            interval = f"  95 % interval {low:.4f} to {high:.4f} ({report['interval_method']})"
        head.append(f"  {name.replace('_', ' '):<16} {metrics[name]:.4f}{interval}")
    rows = [["class", "pixels", "IoU"]]
    for entry in report["classes"]:
        iou = "-" if entry["iou"] is None else f"{entry['iou']:.4f}"
        rows.append(
            [shorten(entry["name"], min(_NAME_WIDTH, width - 30)), f"{entry['pixels']:,}", iou]
        )
    return [*head, "", *(f"  {line}" for line in table(rows, "<>>"))]


def draw(answer: np.ndarray, image: np.ndarray, labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return `mask`, the colour of each pixel's most likely class, and `overlay` on the image.

    Args:
        answer: probabilities, float[h, w, k].
        image: uint8[h, w, 3].
        labels: the class names; the colour follows from the class index.
    """
    mask = _colors(labels)[answer.argmax(-1)]
    return {"mask": mask, "overlay": _mix(mask, image)}


def compare(
    answer: np.ndarray | None,
    example: Mapping[str, np.ndarray],
    image: np.ndarray,
    labels: Sequence[str],
) -> dict[str, np.ndarray]:
    """Return the overlay of the true label map, and of the predicted one if there is one.

    Ignored pixels are not coloured in the true one.
    """
    numbers = example["label_map"].astype(np.int64)
    known = (numbers >= 0) & (numbers < len(labels))
    true = np.where(known[..., None], _colors(labels)[np.where(known, numbers, 0)], image)
    shown = {"truth": _mix(true, image)}
    if answer is not None:
        shown["predicted"] = draw(answer, image, labels)["overlay"]
    return shown


def legend(labels: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the names with their colours."""
    return [(name, color(k)) for k, name in enumerate(labels)]


def quality(rows: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """Return the pixel accuracy of each image, to rank images; NaN without valid pixels."""
    hits, true, _ = np.moveaxis(rows["pixels"].sum(1, dtype=np.float64), -1, 0)
    return "pixel accuracy", hits / np.where(true > 0, true, np.nan)


def _colors(labels: Sequence[str]) -> np.ndarray:
    return np.array([color(k) for k in range(len(labels))], np.uint8)


def _mix(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.rint((1 - _OPACITY) * image + _OPACITY * mask).astype(np.uint8)


def record(answer: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Return the fraction of the image that each class covers, largest first."""
    counts = np.bincount(answer.argmax(-1).ravel(), minlength=len(labels))
    order = np.argsort(-counts, kind="stable").tolist()
    return {"classes": {labels[k]: float(counts[k] / counts.sum()) for k in order if counts[k]}}


def phrase(record: Mapping[str, Any]) -> str:
    """Return the classes with the fractions that they cover: "road 43.1 %, sky 20.0 %"."""
    return ", ".join(f"{name} {100 * part:.1f} %" for name, part in record["classes"].items())
