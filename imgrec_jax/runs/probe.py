"""Linear-probe, nearest-neighbour and few-shot accuracy of a network's features on any data."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.analysis.few_shot import Episodes, episode_accuracies, mean_with_interval
from imgrec_jax.analysis.linear_probe import fit_linear_probe
from imgrec_jax.analysis.neighbours import neighbour_votes
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import CLASSES_OF_PARTS, of_kind
from imgrec_jax.data.sources.source import Source, Splits, gather
from imgrec_jax.ops.classification_metrics import accuracy
from imgrec_jax.runs.trained import Run


class Features(NamedTuple):
    """Outputs of a layer, and labels.

    Attributes:
        values: float32[n, d].
        labels: int32[n].
    """

    values: np.ndarray
    labels: np.ndarray


def extract(run: Run, source: Source, layer: str = "features") -> Features:
    """Return the features of all images, averaged over spatial positions if there are any.

    Raises:
        UsageError: unknown layer; the message lists all.
    """
    size, parts = run.config.eval_batch_size, []
    for first in range(0, len(source), size):
        rows = np.arange(first, min(first + size, len(source)))
        values = run.features(gather(source, rows)["image"], layer)
        parts.append(values.reshape(len(rows), -1, values.shape[-1]).mean(1))
    return Features(np.concatenate(parts), np.asarray(source.labels))


def probe(
    run: Run,
    splits: Splits,
    *,
    layer: str = "features",
    neighbours: int = 20,
    ways: int = 5,
    episodes: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return, by split, the accuracies of classifiers on the features.

    `linear` and `neighbours` are accuracies of classifiers fitted on the train split. `few_shot`
    has, for 1 and 5 shots, the mean accuracy over episodes within the split and half the width of
    its 95 % interval (None for fewer than three episodes). A single split has only
    episodes; one with too few examples or classes for episodes has none.

    Raises:
        UsageError: unknown layer, or a run whose images have no class of their own.
    """
    first = next(iter(splits.values()))[0]
    if parts := of_kind(first, *CLASSES_OF_PARTS):
        raise UsageError(
            f"expected images with a class each to probe, got '{next(iter(parts))}' of parts; "
            "try evaluate"
        )
    found = {name: extract(run, split, layer) for name, split in splits.items()}
    scores: dict[str, dict[str, Any]] = {}
    for name, features in found.items():
        if name == "train" and len(found) > 1:
            continue
        classes = len(splits[name].label_names)
        scores[name] = {"examples": len(features.labels), "classes": classes}
        if name != "train" and "train" in found:
            scores[name] |= classify(found["train"], features, classes, neighbours)
        if few_shot := _few_shot(features, ways, episodes, seed):
            scores[name]["few_shot"] = few_shot
    return scores


def check_ways(ways: int, splits: Splits) -> None:
    """Raise unless some split that `probe` scores has enough classes for episodes of so many.

    Raises:
        UsageError: all have fewer classes with enough examples for one shot.
    """
    needed = 1 + Episodes().queries
    scored = [split for name, split in splits.items() if name != "train" or len(splits) == 1]
    most = max(int((np.bincount(split.labels) >= needed).sum()) for split in scored)
    if ways > most and ways > 1:
        raise UsageError(
            f"expected --ways of at most {most}, the classes with {needed} images or more, got "
            f"{ways}; try --ways={max(2, most)}, or other data"
        )


def classify(
    train: Features, test: Features, classes: int, neighbours: int = 20
) -> Mapping[str, float]:
    """Return the accuracies of a linear probe and of nearest neighbours."""
    linear = fit_linear_probe(train.values, train.labels, classes)
    votes = neighbour_votes(train.values, train.labels, classes, test.values, neighbours=neighbours)
    return {
        "linear": accuracy(linear.scores(test.values), test.labels),
        "penalty": linear.penalty,
        "neighbours": accuracy(votes, test.labels),
    }


def _few_shot(features: Features, ways: int, episodes: int, seed: int) -> dict[str, Any]:
    accuracies = {}
    for shots in (1, 5):
        ask = Episodes(ways, shots, episodes=episodes)
        enough = np.bincount(features.labels) >= shots + ask.queries
        if enough.sum() >= ways:
            values = episode_accuracies(features.values, features.labels, ask, seed)
            mean, half = mean_with_interval(values)
            accuracies[str(shots)] = {
                "accuracy": mean,
                "half_width": half if math.isfinite(half) else None,
            }
    return accuracies
