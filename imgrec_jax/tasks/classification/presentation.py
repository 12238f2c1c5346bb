"""Presentation of classification: top classes with probabilities, errors, uncertain hits."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.core.presentation import Figure, Gallery, Image, Presentation, Rows
from imgrec_jax.core.task import Facts
from imgrec_jax.core.text_table import shorten
from imgrec_jax.ops.prediction import NO_CLASS
from imgrec_jax.tasks.classification import report

MOST_MISTAKES, MOST_HITS = 18, 12
_NAMED = 3  # labels per phrase


def record(probabilities: np.ndarray, facts: Facts) -> dict[str, Any]:
    """Return all labels with their probabilities, float32[k], most likely first."""
    order = np.argsort(-probabilities, kind="stable")
    labels = facts["label_names"]
    return {"top": [{"label": labels[k], "probability": float(probabilities[k])} for k in order]}


def phrase(record: Mapping[str, Any]) -> str:
    """Return the most likely labels: "cat 97.1 %, dog 2.0 %, fox 0.4 %"."""
    best = record["top"][:_NAMED]
    return ", ".join(f"{shorten(t['label'], 20)} {100 * t['probability']:.1f} %" for t in best)


def galleries(split: str, rows: Rows, image: Callable[[int], Image], facts: Facts) -> list[Gallery]:
    """Return galleries of the most informative errors and correct predictions of a split.

    Args:
        split: its name.
        rows: `label`, `prediction` (int[n]) and `confidence` (float[n], of the prediction).
        image: returns the image of a row, uint8[h, w, 3].
        facts: with `label_names`.
    """
    labels = facts["label_names"]

    def shown(row: int, detail: str = "") -> Figure:
        number = int(rows["prediction"][row])
        predicted = "no class (NaN)" if number == NO_CLASS else labels[number]
        return Figure(image(row), f"{rows['confidence'][row]:.1%} {predicted}", detail)

    wrong = np.flatnonzero(rows["label"] != rows["prediction"])
    surest = wrong[np.argsort(-rows["confidence"][wrong], kind="stable")][:MOST_MISTAKES]
    mistakes = [shown(row, f"true: {labels[int(rows['label'][row])]}") for row in surest.tolist()]
    right = np.flatnonzero(rows["label"] == rows["prediction"])
    doubtful = right[np.argsort(rows["confidence"][right], kind="stable")][:MOST_HITS]
    note = f"{len(mistakes)} of {len(wrong):,}. In bold the predicted class and its probability."
    return [
        Gallery(f"Most confident mistakes: {split}", note, mistakes),
        Gallery(
            f"Least certain hits: {split}",
            "Right, with a low probability.",
            [shown(row) for row in doubtful.tolist()],
        ),
    ]


PRESENTATION = Presentation(
    answer=lambda logits: jax.nn.softmax(logits.astype(jnp.float32)),
    record=record,
    phrase=phrase,
    report=lambda rows, facts: report.report(rows, facts["label_names"]),
    lines=report.lines,
    ranked=True,
    galleries=galleries,
)
