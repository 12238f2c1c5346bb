"""Fit a linear classifier on features in closed form (ridge regression).

Hoerl & Kennard 1970, "Ridge Regression"; Hastie, Tibshirani & Friedman 2009, "The Elements of
Statistical Learning", 3.4.1 (the solution by singular values) and 7.10, eq. 7.52 (leaving out one
example at a time without refitting).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

PENALTIES = tuple(10.0**power for power in range(-6, 4))
"""In units of the mean squared singular value of the centred features."""


class LinearProbe(NamedTuple):
    """Class scores that are linear in the features: `features @ weights + bias`.

    Attributes:
        weights: one column for each class.
        bias: one for each class; it is not penalised.
        penalty: the chosen one of those tried.
    """

    weights: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    penalty: float

    def scores(self, features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the scores of all classes, about 1 for the right one and 0 for the others."""
        return features @ self.weights + self.bias


def fit_linear_probe(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    penalties: Sequence[float] = PENALTIES,
) -> LinearProbe:
    """Return the ridge regression of one-hot labels, with the penalty that predicts best.

    The best penalty has the smallest leave-one-out squared error. With two or more examples of
    each class, no further examples are needed to choose it. Computed in float64, in
    O(n d min(n, d)).

    Args:
        features: of the training examples.
        labels: their classes, from 0.
        classes: number of classes.
        penalties: candidates, above 0.
    """
    targets = np.eye(classes)[labels]
    centre, mean = features.mean(0, dtype=np.float64), targets.mean(0)
    left, singular, right = np.linalg.svd(features - centre, full_matrices=False)
    projected = left.T @ (targets - mean)
    squares = singular**2
    unit = squares.mean() + np.finfo(np.float64).tiny  # constant features have none

    def error_left_out(penalty: float) -> float:
        shrink = squares / (squares + penalty * unit)
        residuals = targets - mean - left @ (shrink[:, None] * projected)
        leverage = left**2 @ shrink + 1 / len(targets)
        return float(np.square(residuals / (1 - leverage)[:, None]).sum())

    best = min(penalties, key=error_left_out)
    weights = right.T @ ((singular / (squares + best * unit))[:, None] * projected)
    return LinearProbe(weights, mean - centre @ weights, best)
