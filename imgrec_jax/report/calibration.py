"""Reliability diagram: accuracy of a classifier by confidence."""

from typing import Any

import numpy as np

from imgrec_jax.report.figures import FAINT, INK, SERIES, draw
from imgrec_jax.report.html import Html

BINS = 15  # as in the expected calibration error


def diagram(confidence: np.ndarray, correct: np.ndarray) -> Html:
    """Return the reliability diagram (Guo et al. 2017, figure 1) with image counts.

    Args:
        confidence: float[n], the probability of the predicted class.
        correct: bool[n].
    """
    edges = np.linspace(0, 1, BINS + 1)
    counts, sure, right = binned(confidence, correct)
    filled = counts > 0

    def plot(axes: Any) -> None:
        axes.set_position((0.14, 0.14, 0.84, 0.84))
        width = 1 / BINS
        axes.bar(edges[:-1], counts / counts.sum(), width, align="edge", color=SERIES[0], alpha=0.3)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axes.plot(sure[filled], right[filled], "o-", color=SERIES[2], linewidth=1.6, markersize=4)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy; fraction of images")
        axes.text(0.03, 0.93, "underconfident", color=INK, alpha=0.6)
        axes.text(0.97, 0.05, "overconfident", color=INK, alpha=0.6, ha="right")

    return draw("calibration", "accuracy by confidence", (420.0, 380.0), plot)


def binned(
    confidence: np.ndarray, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean confidence and accuracy of each bin (0, 1/15], (1/15, 2/15], ...

    Mean confidence and accuracy of empty bins are NaN.
    """
    confidence = confidence.astype(np.float64)
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts, sure, right = (
        np.bincount(number, weights, minlength=BINS) for weights in (None, confidence, correct)
    )
    with np.errstate(invalid="ignore"):
        return counts, sure / counts, right / counts
