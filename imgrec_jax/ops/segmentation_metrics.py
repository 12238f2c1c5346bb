"""Segmentation metrics: counts on the device, quotients on the host.

All counts are integers, so scores are equal to the last digit for any distribution of the images
over batches and devices.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Labels = Int[Array, "n h w"]
Valid = Bool[Array, "n h w"]

TOLERANCE = 0.0075
"""The largest distance of matching boundaries, as a fraction of the image's diagonal."""


def confusion(labels: Labels, predicted: Labels, valid: Valid, classes: int) -> Int[Array, "k k"]:
    """Return how many valid pixels of a true class (row) were predicted as each class (column).

    Pixels without a predicted class (-1) are in no column.
    """
    labels = jnp.where(valid, labels, 0)
    empty = jnp.zeros((classes, classes), jnp.int32)
    return empty.at[labels, predicted].add((valid & (predicted >= 0)).astype(jnp.int32))


def pixel_counts(
    labels: Labels, predicted: Labels, valid: Valid, classes: int
) -> Int[Array, "n k 3"]:
    """Return the numbers of correct, true and predicted valid pixels for each image and class."""
    true = _of_class(labels, valid, classes)
    pred = _of_class(predicted, valid, classes)
    counts = [x.sum((1, 2), dtype=jnp.int32) for x in (true & pred, true, pred)]
    return jnp.stack(counts, axis=-1)


def boundary_counts(
    labels: Labels, predicted: Labels, valid: Valid, classes: int
) -> Int[Array, "n k 4"]:
    """Return the boundary lengths in pixels and the matched parts, for each image and class.

    The four counts: predicted boundary pixels, those of them within reach of a true one; true
    boundary pixels, those within reach of a predicted one. A pixel is on the boundary of its
    class if a neighbour (of four) is valid and of another class. Within reach is up to
    `TOLERANCE` of the diagonal, at least one pixel, along rows and columns alike (Csurka et al.
    2013, "What is a good evaluation measure for semantic segmentation?", section 2, with a square
    in place of the disc).
    """
    height, width = labels.shape[1:]
    reach = max(1, round(TOLERANCE * math.hypot(height, width)))
    true = _boundary(_of_class(labels, valid, classes), valid)
    pred = _boundary(_of_class(predicted, valid, classes), valid)
    parts = [pred, pred & _widen(true, reach), true, true & _widen(pred, reach)]
    return jnp.stack([x.sum((1, 2), dtype=jnp.int32) for x in parts], axis=-1)


def ious(hits: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> Float[np.ndarray, "*r k"]:
    """Return hits / (true + predicted - hits) of each class; NaN where it never occurs.

    A class that does not occur in the truth has no score, predicted or not: mIoU is the mean of
    the others (Everingham et al. 2015, "The PASCAL Visual Object Classes Challenge", section 4.3).
    """
    union = true + predicted - hits
    return np.where(true > 0, hits / np.maximum(union, 1), np.nan)


def boundary_f1(counts: Int[np.ndarray, "n k 4"]) -> Float[np.ndarray, " n"]:
    """Return the boundary F1 of each image: the mean over its classes that have a boundary.

    A class has one if its true or its predicted map has one; if only one of them has, F1 is 0.
    Images without any boundary give NaN.
    """
    predicted, predicted_near, true, true_near = np.moveaxis(counts.astype(np.float64), -1, 0)
    precision = predicted_near / np.maximum(predicted, 1)
    recall = true_near / np.maximum(true, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    occurs = (predicted + true) > 0
    return np.where(occurs.any(1), (f1 * occurs).sum(1) / np.maximum(occurs.sum(1), 1), np.nan)


def _of_class(labels: Labels, valid: Valid, classes: int) -> Bool[Array, "n h w k"]:
    numbers = jnp.arange(classes, dtype=labels.dtype).reshape(1, 1, 1, -1)
    return (labels[..., None] == numbers) & valid[..., None]


def _boundary(inside: Bool[Array, "n h w k"], valid: Valid) -> Bool[Array, "n h w k"]:
    outside = valid[..., None] & ~inside
    near = jnp.zeros_like(inside)
    for axis in (1, 2):
        for step in (-1, 1):
            near |= _shift(outside, step, axis)
    return inside & near


def _shift(x: Bool[Array, "n h w k"], step: int, axis: int) -> Bool[Array, "n h w k"]:
    """Return x shifted by `step` pixels along an axis, filled with False."""
    size = x.shape[axis]
    pad = [(0, 0)] * x.ndim
    pad[axis] = (max(step, 0), max(-step, 0))
    start = max(-step, 0)
    return jax.lax.slice_in_dim(jnp.pad(x, pad), start, start + size, axis=axis)


def _widen(x: Bool[Array, "n h w k"], reach: int) -> Bool[Array, "n h w k"]:
    for axis in (1, 2):
        wide = x
        for step in range(1, min(reach, x.shape[axis] - 1) + 1):
            wide = wide | _shift(x, step, axis) | _shift(x, -step, axis)
        x = wide
    return x
