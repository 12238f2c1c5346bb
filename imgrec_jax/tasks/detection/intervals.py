"""Bootstrap intervals of AP over images, from COCO's matches.

Boxes are matched image by image. A resample of the images therefore only weights the matches by
how often each image was drawn; matching is not repeated.
"""

from typing import Any

import numpy as np

from imgrec_jax.ops.classification_metrics import bootstrap_counts, percentile_interval

RESAMPLES = 500
_AT_ONCE = 50  # resamples in memory: a label of a large data set has 100,000 boxes


def ap_intervals(evaluation: Any, images: int) -> dict[str, list[float]]:
    """Return the 95 % intervals of `ap` and `ap50` over resampled images.

    Args:
        evaluation: pycocotools' COCOeval after `evaluate()`; None: there is no true box.
        images: number of images.
    """
    if evaluation is None:
        return {}
    drawn = bootstrap_counts(images, resamples=RESAMPLES)
    parts = np.split(drawn, RESAMPLES // _AT_ONCE)
    resampled = np.concatenate([weighted_ap(evaluation, part) for part in parts])
    scores = {"ap": resampled.mean(-1), "ap50": resampled[:, 0]}
    return {name: list(percentile_interval(of)) for name, of in scores.items()}


def weighted_ap(evaluation: Any, drawn: np.ndarray) -> np.ndarray:
    """Return AP [r, overlap] of resamples, the mean over labels with a true box in them.

    Args:
        evaluation: pycocotools' COCOeval after `evaluate()`.
        drawn: int[r, n], how often each resample contains each image.
    """
    images, areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    labels = range(len(evaluation.params.catIds))
    with np.errstate(invalid="ignore", divide="ignore"):
        by_label = [
            _label_ap(
                # Boxes of all sizes: the first of COCO's area ranges.
                evaluation.evalImgs[label * areas * images :][:images],
                drawn,
                evaluation.params,
            )
            for label in labels
        ]
    known = [~np.isnan(ap) for ap in by_label]
    total = np.sum([np.where(k, ap, 0) for ap, k in zip(by_label, known, strict=True)], axis=0)
    return total / np.maximum(np.sum(known, axis=0), 1)


def _label_ap(matched: list[Any], drawn: np.ndarray, params: Any) -> np.ndarray:
    """Return AP [r, overlap] of one label as in COCOeval.accumulate; NaN: no true box.

    Precision is read at 101 recalls, as the maximum at this recall or beyond.
    """
    most, overlaps = params.maxDets[-1], len(params.iouThrs)
    there = [(number, of) for number, of in enumerate(matched) if of is not None]
    if not there:
        return np.full((len(drawn), overlaps), np.nan)
    true = np.zeros(drawn.shape[1])
    for number, of in there:
        true[number] = np.count_nonzero(of["gtIgnore"] == 0)
    total = drawn @ true
    scores = np.concatenate([of["dtScores"][:most] for _, of in there])
    order = np.argsort(-scores, kind="mergesort")
    image = np.repeat([n for n, _ in there], [len(of["dtScores"][:most]) for _, of in there])
    weights = drawn[:, image[order]]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([of[name][:, :most] for _, of in there], axis=1)[:, order]

    hits = (joined("dtMatches") != 0) & (joined("dtIgnore") == 0)
    misses = (joined("dtMatches") == 0) & (joined("dtIgnore") == 0)
    found = np.zeros((len(drawn), overlaps))
    for overlap in range(overlaps):
        places = np.flatnonzero(hits[overlap])  # precision is highest at true positives
        right = (weights * hits[overlap]).cumsum(1)[:, places]
        wrong = (weights * misses[overlap]).cumsum(1)[:, places]
        precision = right / np.maximum(right + wrong, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        best = np.pad(best, ((0, 0), (0, 1)))  # 0 for recalls that are not reached
        for resample, recall in enumerate(right / total[:, None]):
            at = np.searchsorted(recall, params.recThrs, side="left")
            found[resample, overlap] = best[resample, at].mean()
    return np.where(total[:, None] > 0, found, np.nan)
