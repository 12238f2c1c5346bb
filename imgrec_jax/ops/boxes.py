"""Box operations on x0, y0, x1, y1 in pixels from the upper left corner."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Boxes = Float[Array, "*n 4"]


def area(boxes: Float[Array, "*n 4"]) -> Float[Array, "*n"]:
    """Return the areas; an inverted box has area 0."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return jnp.maximum(width, 0.0) * jnp.maximum(height, 0.0)


def intersection(a: Float[Array, "*#n 4"], b: Float[Array, "*#n 4"]) -> Float[Array, "*#n"]:
    """Return the area that two boxes share."""
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    return area(jnp.concatenate([low, high], axis=-1))


def iou(a: Float[Array, "*#n 4"], b: Float[Array, "*#n 4"]) -> Float[Array, "*#n"]:
    """Return intersection over union, in 0 .. 1; two empty boxes have 0."""
    shared = intersection(a, b)
    return _ratio(shared, area(a) + area(b) - shared)


def pairwise_iou(a: Float[Array, "*n k 4"], b: Float[Array, "*n m 4"]) -> Float[Array, "*n k m"]:
    """Return the overlap of each of k boxes with each of m."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def pairwise_coverage(
    a: Float[Array, "*n k 4"], b: Float[Array, "*n m 4"]
) -> Float[Array, "*n k m"]:
    """Return the fraction of each of k boxes inside each of m: COCO's overlap with a crowd."""
    shared = intersection(a[..., :, None, :], b[..., None, :, :])
    return _ratio(shared, jnp.broadcast_to(area(a)[..., :, None], shared.shape))


def giou(a: Float[Array, "*#n 4"], b: Float[Array, "*#n 4"]) -> Float[Array, "*#n"]:
    """Return the generalised overlap, in -1 .. 1.

    IoU minus the fraction of the smallest enclosing box that neither covers (Rezatofighi et al.
    2019, "Generalized Intersection over Union", algorithm 1); it has a gradient even if the boxes
    do not touch.
    """
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    low, high = jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
    around = area(jnp.concatenate([low, high], axis=-1))
    return _ratio(shared, union) - _ratio(around - union, around)


def from_centres(boxes: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Return x0, y0, x1, y1 of boxes given as centre x, centre y, width, height."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2.0
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def to_centres(boxes: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Return centre x, centre y, width, height of boxes given as x0, y0, x1, y1."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return jnp.concatenate([(low + high) / 2.0, high - low], axis=-1)


def clip(boxes: Float[Array, "*n 4"], height: int, width: int) -> Float[Array, "*n 4"]:
    """Return the boxes clipped to an image."""
    limits = jnp.asarray([width, height, width, height], boxes.dtype)
    return jnp.clip(boxes, 0.0, jnp.broadcast_to(limits, boxes.shape))


def _ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, or 0 (with a gradient of 0) where the whole is 0."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1.0), 0.0)
