"""Few-shot evaluation: classify queries in episodes of a few labelled examples per class.

Vinyals et al. 2016, "Matching Networks for One Shot Learning", section 4 (episodes); Snell et al.
2017, "Prototypical Networks for Few-shot Learning" (the nearest class mean); Wang et al. 2019,
"SimpleShot" (features of length 1, without training for episodes).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from imgrec_jax.analysis.neighbours import unit_length
from imgrec_jax.core.errors import UsageError
from imgrec_jax.ops.classification_metrics import accuracy

_FEWEST = 3  # episodes whose mean has an interval


class Episodes(NamedTuple):
    """Episode size: `ways` classes with `shots` labelled and `queries` unlabelled examples each."""

    ways: int = 5
    shots: int = 1
    queries: int = 15
    episodes: int = 1000


def episode_accuracies(
    features: Num[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], ask: Episodes, seed: int = 0
) -> Float[np.ndarray, " episodes"]:
    """Return the fraction of queries in each episode whose nearest class mean is the right one.

    Features are scaled to length 1; distances are Euclidean. Classes and examples of an episode
    are drawn without replacement from the classes that have enough examples.

    Raises:
        UsageError: fewer than `ways` classes have `shots + queries` examples.
    """
    needed = ask.shots + ask.queries
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rows = [of_class for of_class in rows if len(of_class) >= needed]
    if len(rows) < ask.ways:
        raise UsageError(
            f"expected {ask.ways} classes or more with {needed} examples for {ask.ways}-way "
            f"{ask.shots}-shot episodes, got {len(rows)}; try fewer ways, or another split"
        )
    features, random = unit_length(features), np.random.PCG64(seed)
    return np.array([_accuracy(features, rows, ask, random) for _ in range(ask.episodes)])


def mean_with_interval(accuracies: Float[np.ndarray, " episodes"]) -> tuple[float, float]:
    """Return the mean over episodes and half the width of its 95 % interval, t s / sqrt(n).

    t is Student's, 1.96 for many episodes; the width is NaN for fewer than three.
    """
    mean, n = float(accuracies.mean()), len(accuracies)
    if n < _FEWEST:
        return mean, math.nan
    from scipy.stats import t

    return mean, float(t.ppf(0.975, n - 1) * accuracies.std(ddof=1) / math.sqrt(n))


def _accuracy(
    features: np.ndarray, rows: list[np.ndarray], ask: Episodes, random: np.random.PCG64
) -> float:
    def draw(some: int, count: int) -> np.ndarray:
        # raw bits: the only stream that NumPy promises never to change
        return np.argsort(random.random_raw(count), kind="stable")[:some]

    classes = [rows[i] for i in draw(ask.ways, len(rows))]
    drawn = np.stack([c[draw(ask.shots + ask.queries, len(c))] for c in classes])
    known, query_features = features[drawn[:, : ask.shots]], features[drawn[:, ask.shots :]]
    means = known.mean(1)
    distances = (
        np.square(means).sum(1) - 2 * query_features @ means.T
    )  # without the query's own square
    labels = np.arange(ask.ways)[:, None].repeat(ask.queries, 1)
    return accuracy(-distances, labels)
