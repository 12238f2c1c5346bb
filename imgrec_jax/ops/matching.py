"""Match predictions to true boxes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.ops.boxes import pairwise_coverage, pairwise_iou

_DEAREST = 1e6


class Matches(NamedTuple):
    """The match of each prediction.

    Attributes:
        truth: the index of the matched true box, or -1.
        ignored: it matched a box that is not scored, and counts neither as right nor as wrong.
    """

    truth: Int[Array, " k"]
    ignored: Bool[Array, " k"]


def match_detections(
    boxes: Float[Array, "k 4"],
    labels: Int[Array, " k"],
    found: Bool[Array, " k"],
    true_boxes: Float[Array, "m 4"],
    true_labels: Int[Array, " m"],
    true_mask: Bool[Array, " m"],
    true_ignore: Bool[Array, " m"],
    threshold: float,
) -> Matches:
    """Match the predictions of one image to its true boxes as COCO's evaluation does.

    In the order of their rows (highest score first), predictions match the unmatched true box of
    their label with the largest overlap, if it is at least `threshold`; of equal overlaps the
    last. Only if there is none, they may match an ignored box. Any number of predictions may
    match the same ignored box; its overlap is the fraction of the prediction that it covers (Lin
    et al. 2014, "Microsoft COCO"; the evaluation code, `evaluateImg`, for crowds).

    `found` is false in padding rows of the predictions, `true_mask` in those of the true boxes.
    """
    same = (labels[:, None] == true_labels[None, :]) & true_mask[None, :] & found[:, None]
    scored = jnp.where(same & ~true_ignore[None, :], pairwise_iou(boxes, true_boxes), -1.0)
    covered = jnp.where(same & true_ignore[None, :], pairwise_coverage(boxes, true_boxes), -1.0)

    def one(
        free: Bool[Array, " m"], row: tuple[Array, Array]
    ) -> tuple[Bool[Array, " m"], tuple[Array, Array]]:
        overlap, coverage = row
        overlap = jnp.where(free, overlap, -1.0)
        place, hit = _last_largest(overlap), overlap.max() >= threshold
        aside = ~hit & (coverage.max() >= threshold)
        truth = jnp.where(hit, place, jnp.where(aside, _last_largest(coverage), -1))
        return free & ~(hit & (jnp.arange(len(free)) == place)), (truth, aside)

    _, (truth, ignored) = jax.lax.scan(one, jnp.ones_like(true_mask), (scored, covered))
    return Matches(truth.astype(jnp.int32), ignored)


def match_queries(cost: Float[Array, "m q"], mask: Bool[Array, " m"]) -> Int[Array, " m"]:
    """Assign a distinct query to each of m boxes, with the least total cost; return their indices.

    There must be at least as many queries as boxes (q >= m). Boxes with `mask` false get q, which
    is no query. Costs are clipped to one million in both directions, and NaN counts as a million;
    otherwise the search would not end (Kuhn 1955, "The Hungarian Method for the Assignment
    Problem").
    """
    boxes, queries = cost.shape
    cost = jnp.clip(jnp.nan_to_num(cost, nan=_DEAREST), -_DEAREST, _DEAREST)
    # Each padding row has a column of its own, where its search ends at once: among equal costs it
    # would visit all columns that are already assigned.
    own = jnp.eye(boxes, dtype=bool) & ~mask[:, None]
    cost = jnp.concatenate([cost, jnp.where(own, -2 * _DEAREST, 2 * _DEAREST)], axis=1)
    row, column = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(boxes, jnp.int32).at[row].set(jnp.minimum(column, queries))


def _last_largest(values: Float[Array, " m"]) -> Array:
    return (len(values) - 1 - jnp.argmax(values[::-1])).astype(jnp.int32)
