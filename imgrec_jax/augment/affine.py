"""Apply affine transforms to label maps and boxes.

A transform is given by affine matrices float32[n, 2, 3]. `backward` matrices map a position in the
new image to its source position in the old one: (x, y) -> (a x + b y + c, d x + e y + f), in
pixels from the upper left corner, so that the first pixel's centre is at (0.5, 0.5).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from imgrec_jax.augment.augmentation import Sample
from imgrec_jax.core.fields import IGNORE

Matrices = Float[Array, "n 2 3"]
Places = Float[Array, "n h w"]


def carry(sample: Sample, backward: Matrices) -> Sample:
    """Return the sample with label map (nearest pixel) and boxes moved, and the image unchanged."""
    if "label_map" in sample:
        labels = jnp.asarray(sample["label_map"])
        height, width = labels.shape[1:]
        x, y = sources(backward, height, width)
        row = jnp.clip(jnp.floor(y).astype(jnp.int32), 0, height - 1)
        column = jnp.clip(jnp.floor(x).astype(jnp.int32), 0, width - 1)
        examples = jnp.arange(len(labels))[:, None, None]
        sampled = labels[examples, row, column]
        sample = {**sample, "label_map": jnp.where(inside(x, y), sampled, IGNORE)}
    return carry_boxes(sample, _inverse(backward))


def carry_boxes(sample: Sample, forward: Matrices) -> Sample:
    """Return the sample with its boxes moved by matrices that map old positions to new ones.

    A rotated box is replaced by its axis-aligned bounding box.
    """
    if "boxes" not in sample:
        return sample
    height, width = sample["image"].shape[1:3]
    corners = sample["boxes"][..., np.array([[0, 2, 0, 2], [1, 1, 3, 3]])]
    x, y = transform(forward, corners[..., 0, :], corners[..., 1, :])
    x, y = jnp.clip(x, 0.0, float(width)), jnp.clip(y, 0.0, float(height))
    low, high = (x.min(-1), y.min(-1)), (x.max(-1), y.max(-1))
    left = (low[0] < high[0]) & (low[1] < high[1])
    boxes = jnp.stack([*low, *high], axis=-1)
    return {**sample, "boxes": boxes, "box_mask": sample["box_mask"] & left}


def sources(backward: Matrices, height: int, width: int) -> tuple[Places, Places]:
    """Return the source position (x, y) of the centre of each new pixel."""
    columns = jnp.arange(width, dtype=jnp.float32)[None, None, :] + 0.5
    rows = jnp.arange(height, dtype=jnp.float32)[None, :, None] + 0.5
    return transform(backward, columns, rows)


def transform(matrices: Matrices, x: Array, y: Array) -> tuple[Array, Array]:
    """Apply matrices to positions; return x and y, both [n or 1, ., .].

    Written out because a matmul on an accelerator may round to half the digits.
    """
    a, b, c, d, e, f = (value[:, None, None] for value in matrices.reshape(-1, 6).T)
    return a * x + b * y + c, d * x + e * y + f


def inside(x: Places, y: Places) -> Bool[Array, "n h w"]:
    """Return which positions lie in an image of the size of the arrays."""
    height, width = x.shape[1:]
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def stretch(left: Array, top: Array, x_step: Array, y_step: Array) -> Matrices:
    """Return backward matrices that start at (left, top) and take steps of the given lengths."""
    zero = jnp.zeros_like(left)
    return jnp.stack([x_step, zero, left, zero, y_step, top], axis=-1).reshape(-1, 2, 3)


def _inverse(matrices: Matrices) -> Matrices:
    a, b, c, d, e, f = matrices.reshape(-1, 6).T
    scale = a * e - b * d
    inverse = [e, -b, b * f - c * e, -d, a, c * d - a * f]
    return (jnp.stack(inverse, axis=-1) / scale[:, None]).reshape(-1, 2, 3)
