"""Classification report: per-class scores and confusions, as JSON and as text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgrec_jax.core.text_table import display_width, shorten, table
from imgrec_jax.ops import classification_metrics

MOST_CLASSES = 20
"""With more classes, the text shows only the worst ones and the most frequent confusions."""

_SHOWN = 10
_NAME_WIDTH = 30


def report(rows: Mapping[str, np.ndarray], labels: Sequence[str]) -> dict[str, Any]:
    """Return all scores computed from the rows of an evaluation, as JSON.

    Args:
        rows: `label`, `prediction` (int[n]) and `confidence` (float[n], of the prediction).
        labels: the class names, in the order of the numbers.

    `intervals` holds the 95 % interval of the accuracy, by the method in `interval_method`.
    Undefined scores (such as the precision of a class that was never predicted) are null.
    """
    correct = rows["label"] == rows["prediction"]
    confusion = classification_metrics.confusion_matrix(
        rows["label"], rows["prediction"], len(labels)
    )
    n = np.bincount(rows["label"], minlength=len(labels))
    by_class = classification_metrics.class_scores(confusion, n)
    return {
        "n": len(correct),
        "correct": int(correct.sum()),
        "accuracy": float(correct.mean()),
        "intervals": {
            "accuracy": list(
                classification_metrics.proportion_interval(int(correct.sum()), len(correct))
            )
        },
        "interval_method": "Clopper-Pearson",
        "balanced_accuracy": classification_metrics.balanced_accuracy(by_class),
        "macro_f1": classification_metrics.macro_f1(by_class),
        "calibration_error": classification_metrics.calibration_error(rows["confidence"], correct),
        "classes": [
            {
                "name": name,
                "n": int(by_class.n[k]),
                "precision": _finite(by_class.precision[k]),
                "recall": _finite(by_class.recall[k]),
                "f1": _finite(by_class.f1[k]),
            }
            for k, name in enumerate(labels)
        ],
        "confusion": confusion.tolist(),
    }


def lines(metrics: Mapping[str, float], report: Mapping[str, Any], width: int = 100) -> list[str]:
    """Return a report, and metrics missing from it, as text of at most `width` columns."""
    low, high = report["intervals"]["accuracy"]
    head = [
        ("accuracy", f"{report['accuracy']:.4f}", f"{report['correct']:,} of {report['n']:,}"),
        ("", "", f"95 % interval {low:.4f} to {high:.4f} ({report['interval_method']})"),
        ("balanced accuracy", f"{report['balanced_accuracy']:.4f}", "mean recall of the classes"),
        ("macro F1", f"{report['macro_f1']:.4f}", ""),
        ("calibration error", f"{report['calibration_error']:.4f}", "expected, in 15 bins"),
        *((name, f"{value:.4f}", "") for name, value in metrics.items() if name not in report),
    ]
    many = len(report["classes"]) > MOST_CLASSES
    matrix = [] if many else _matrix(report, width - 2)
    parts = [table(head, "<><"), _classes(report), matrix or _confusions(report)]
    return [f"  {line}" if line else "" for part in parts if part for line in (*part, "")][:-1]


def _classes(report: Mapping[str, Any]) -> list[str]:
    """Return the table of classes; of many classes, only the worst."""
    shown, title = report["classes"], "class"
    if len(shown) > MOST_CLASSES:
        occurring = [c for c in shown if c["n"]]
        shown = sorted(occurring, key=lambda c: (c["f1"], -c["n"]))[:_SHOWN]
        title = f"worst {len(shown)} of {len(report['classes'])} classes"
    rows = [[title, "n", "precision", "recall", "F1"]]
    for c in shown:
        values = (_four_digits(c[score]) for score in ("precision", "recall", "f1"))
        rows.append([shorten(c["name"], _NAME_WIDTH), f"{c['n']:,}", *values])
    return table(rows, "<>>>>")


def _matrix(report: Mapping[str, Any], width: int) -> list[str]:
    """Return the confusion matrix, or nothing if it does not fit."""
    names = [c["name"] for c in report["classes"]]
    counts = report["confusion"]
    rows_wide = min(max(map(display_width, names)), _NAME_WIDTH, width // 4)
    room = (width - rows_wide) // len(names) - 2
    if room < max(3, len(f"{max(map(max, counts))}")):
        return []
    # A dot for zero makes the other counts stand out.
    body = [
        [shorten(name, rows_wide), *(str(count or ".") for count in row)]
        for name, row in zip(names, counts, strict=True)
    ]
    heads = ["", *(shorten(name, room, "") for name in names)]
    title = "confusion: truth in rows, prediction in columns"
    return [title, *table([heads, *body], "<" + ">" * len(names))]


def _confusions(report: Mapping[str, Any]) -> list[str]:
    """Return the most frequent confusions, instead of a matrix that does not fit."""
    names = [c["name"] for c in report["classes"]]
    pairs = sorted(
        (
            (-count, truth, prediction)
            for truth, row in enumerate(report["confusion"])
            for prediction, count in enumerate(row)
            if count and truth != prediction
        )
    )[:_SHOWN]
    rows = [
        (
            shorten(names[truth], _NAME_WIDTH),
            "predicted as",
            shorten(names[prediction], _NAME_WIDTH),
            f"{-count:,} of {report['classes'][truth]['n']:,}",
        )
        for count, truth, prediction in pairs
    ]
    return ["most frequent confusions (--json holds all)", *table(rows, "<<<>")] if rows else []


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _four_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
