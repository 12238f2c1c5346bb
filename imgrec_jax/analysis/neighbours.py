"""Classify by weighted votes of the nearest neighbours in feature space."""

import numpy as np
from jaxtyping import Float, Int, Num

_BLOCK = 1024  # examples compared with all others at once


def neighbour_votes(
    features: Num[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    queries: Num[np.ndarray, "m d"],
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> Float[np.ndarray, "m k"]:
    """Return for each query the votes of its nearest examples for each class.

    Nearest means largest cosine s, and a vote weighs exp(s / temperature) (Wu et al. 2018,
    "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4; their
    temperature). Votes are scaled so that the nearest example's weighs 1.

    Args:
        features: of the voting examples.
        labels: their classes, from 0.
        classes: number of classes.
        queries: features to classify.
        neighbours: number of voters; all examples if there are fewer.
        temperature: above 0; the smaller, the less distant examples count.
    """
    known, count = unit_length(features), min(neighbours, len(features))
    one_hot = np.eye(classes)[labels]
    votes = []
    for first in range(0, len(queries), _BLOCK):
        cosines = unit_length(queries[first : first + _BLOCK]) @ known.T
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(cosines, nearest, axis=1)
        weights = np.exp((near - near.max(1, keepdims=True)) / temperature)
        votes.append(np.einsum("mn,mnk->mk", weights, one_hot[nearest]))
    return np.concatenate(votes)


def unit_length(features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return features as float64 scaled to length 1; those of length 0 stay 0."""
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0)
