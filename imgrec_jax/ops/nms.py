"""Non-maximum suppression in arrays of a fixed size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.ops.boxes import pairwise_iou


def suppress(
    boxes: Float[Array, "k 4"],
    scores: Float[Array, " k"],
    labels: Int[Array, " k"],
    threshold: float,
) -> Bool[Array, " k"]:
    """Return which boxes are kept: those not overlapped by a kept box of their label scored higher.

    Scores must not increase from row to row. A score of 0 or less marks padding, which is not
    kept and suppresses nothing. Boxes overlap if their IoU is above `threshold`.
    """
    same = labels[:, None] == labels[None, :]
    overlaps = (pairwise_iou(boxes, boxes) > threshold) & same
    places = jnp.arange(len(boxes))

    def one(row: Array, kept: Bool[Array, " k"]) -> Bool[Array, " k"]:
        # A kept row removes all rows below that it overlaps.
        return kept & ~(overlaps[row] & kept[row] & (places > row))

    return jax.lax.fori_loop(0, len(boxes), one, scores > 0)


def best_detections(
    boxes: Float[Array, "l 4"],
    scores: Float[Array, "l k"],
    *,
    candidates: int,
    detections: int,
    threshold: float,
    min_score: float,
) -> tuple[Float[Array, "d 4"], Float[Array, " d"], Int[Array, " d"]]:
    """Return the best boxes of one image with scores and labels, highest score first.

    Args:
        boxes: one per location.
        scores: of each location for each of k labels, in 0 .. 1.
        candidates: the most of the l·k pairs that enter suppression.
        detections: number of rows returned (at most `candidates`); rows beyond those found have
            score 0, label 0 and an empty box.
        threshold: the overlap above which the lower-scored of two boxes of one label is removed.
        min_score: boxes with lower scores are never returned.
    """
    classes = scores.shape[-1]
    best, place = jax.lax.top_k(scores.reshape(-1), min(candidates, scores.size))
    labels, kept_boxes = place % classes, boxes[place // classes]
    best = jnp.where(best >= min_score, best, 0.0)
    best = jnp.where(suppress(kept_boxes, best, labels, threshold), best, 0.0)
    if missing := max(0, detections - len(best)):
        best = jnp.pad(best, (0, missing))
        labels = jnp.pad(labels, (0, missing))
        kept_boxes = jnp.pad(kept_boxes, ((0, missing), (0, 0)))
    score, row = jax.lax.top_k(best, detections)
    found = score > 0
    return (
        jnp.where(found[:, None], kept_boxes[row], 0.0),
        score,
        jnp.where(found, labels[row], 0).astype(jnp.int32),
    )
