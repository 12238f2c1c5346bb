"""Classification metrics from counts and per-example values, in plain NumPy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num


class ClassScores(NamedTuple):
    """Scores per class; NaN where the divisor is 0.

    Attributes:
        n: examples of the class.
        precision: fraction of the examples predicted as the class that are; NaN if none was.
        recall: fraction of the examples of the class predicted as such; NaN if there is none.
        f1: 2 tp / (2 tp + fp + fn); NaN for a class that neither occurs nor was predicted.
    """

    n: Int[np.ndarray, " k"]
    precision: Float[np.ndarray, " k"]
    recall: Float[np.ndarray, " k"]
    f1: Float[np.ndarray, " k"]


def confusion_matrix(
    labels: Int[np.ndarray, " n"], predictions: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """Return how often a true class (row) was predicted as each class (column).

    Examples without a predicted class (-1) are in no column.
    """
    known = predictions >= 0
    flat = labels[known].astype(np.int64) * classes + predictions[known]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def class_scores(
    confusion: Int[np.ndarray, "k k"], n: Int[np.ndarray, " k"] | None = None
) -> ClassScores:
    """Return the scores of each class.

    Args:
        confusion: as `confusion_matrix` returns it.
        n: examples of each class, if the matrix lacks some that have no predicted class.
    """
    hits, predicted = np.diag(confusion), confusion.sum(0)
    n = confusion.sum(1) if n is None else n
    with np.errstate(invalid="ignore"):
        return ClassScores(n, hits / predicted, hits / n, 2 * hits / (n + predicted))


def accuracy(scores: Num[np.ndarray, "*n k"], labels: Int[np.ndarray, "*n"]) -> float:
    """Return the fraction of rows whose largest score is that of the label; NaN is wrong."""
    right = (scores.argmax(-1) == labels) & ~np.isnan(scores).any(-1)
    return float(np.mean(right))


def balanced_accuracy(scores: ClassScores) -> float:
    """Return the mean recall of the classes that occur (Brodersen et al. 2010)."""
    return float(np.nanmean(scores.recall))


def macro_f1(scores: ClassScores) -> float:
    """Return the mean F1 of the classes that occur or were predicted."""
    return float(np.nanmean(scores.f1))


def calibration_error(
    confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = 15
) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy.

    Equal-width bins, closed above: (0, 1/bins], (1/bins, 2/bins], ... Each bin's gap between mean
    confidence and accuracy is weighted by its number of examples (Guo et al. 2017, "On Calibration
    of Modern Neural Networks", eq. 3). `confidence` is the probability of the predicted class.
    """
    number = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(number, correct - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def proportion_interval(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion of n independent examples.

    The exact interval of Clopper and Pearson (1934) holds the true proportion in at least 95 % of
    test sets, however small they are and however near the proportion is to 0 or 1; the bootstrap
    does not. It covers the variation over test sets of the same size, not over training seeds.
    """
    from scipy.stats import beta

    low = float(beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def bootstrap_counts(n: int, *, resamples: int = 1000, seed: int = 0) -> Int[np.ndarray, "r n"]:
    """Return how often each of n examples is drawn in each resample, n draws with replacement.

    For scores that are no proportions of examples but follow from sums over them, such as mIoU.
    The same n and seed give the same draws.
    """
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)


def percentile_interval(resampled: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """Return the 95 % interval of a score from its values on resamples; NaN values are ignored.

    This is the percentile interval of the bootstrap (Efron & Tibshirani 1993, section 13.3).
    The score itself may lie outside if it is biased, as the best of several values is.
    """
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)
