"""Training targets of a dense detector (Tian et al. 2019, "FCOS")."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.ops.boxes import area

_REACH = 8.0  # a level takes boxes whose farthest side is up to 8 of its strides away (section 3.2)
_RADIUS = 1.5  # of the central area of a box, in strides


class Grid(NamedTuple):
    """The locations of all levels in one array, finest first.

    Attributes:
        centres: (x, y) in pixels.
        strides: pixels between neighbouring locations.
        nearest, farthest: range of distances to a box's farthest side that the location handles.
    """

    centres: Float[np.ndarray, "l 2"]
    strides: Float[np.ndarray, " l"]
    nearest: Float[np.ndarray, " l"]
    farthest: Float[np.ndarray, " l"]


class Targets(NamedTuple):
    """Training targets of the locations of one image.

    Attributes:
        box_index: the index of the box that a location is responsible for, or -1.
        has_loss: false if a location is in an ignored box and responsible for none: its
            prediction counts neither as right nor as wrong.
    """

    box_index: Int[Array, " l"]
    has_loss: Bool[Array, " l"]


def grid(height: int, width: int, strides: Sequence[int]) -> Grid:
    """Return the locations of an image: per level ceil(height / stride) · ceil(width / stride)."""
    levels = []
    for number, stride in enumerate(strides):
        y, x = np.mgrid[: -(-height // stride), : -(-width // stride)]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        near = _REACH * strides[number - 1] if number else 0.0
        far = np.inf if stride == strides[-1] else _REACH * stride
        levels.append([centres, *(np.full(len(centres), v) for v in (stride, near, far))])
    return Grid(*(np.concatenate(part).astype(np.float32) for part in zip(*levels, strict=True)))


def assign_targets(
    locations: Grid,
    boxes: Float[Array, "m 4"],
    mask: Bool[Array, " m"],
    ignore: Bool[Array, " m"],
) -> Targets:
    """Return which of an image's boxes each location is responsible for.

    A location is responsible for a box if it lies in its central area (within 1.5 strides of its
    centre, and in the box) and if the distance to the box's farthest side is in the range of its
    level. The smallest of several boxes is taken (sections 3.1 and 3.2; the central area as in
    the authors' later code).
    """
    sides = _side_distances(locations, boxes)
    inside = sides.min(-1) > 0
    farthest_side = sides.max(-1)
    box_centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    offset = jnp.abs(jnp.asarray(locations.centres)[:, None, :] - box_centres[None]).max(-1)
    central = offset < _RADIUS * jnp.asarray(locations.strides)[:, None]
    in_range = (farthest_side > locations.nearest[:, None]) & (
        farthest_side <= locations.farthest[:, None]
    )
    responsible = inside & central & in_range & (mask & ~ignore)[None, :]
    areas = jnp.where(responsible, area(boxes)[None, :], jnp.inf)
    positive = responsible.any(-1)
    box_index = jnp.where(positive, areas.argmin(-1), -1).astype(jnp.int32)
    return Targets(box_index, positive | ~(inside & (mask & ignore)[None, :]).any(-1))


def decode_boxes(locations: Grid, distances: Float[Array, "*n l 4"]) -> Float[Array, "*n l 4"]:
    """Return the boxes whose left, top, right and bottom sides are at these distances."""
    signs = jnp.asarray([-1.0, -1.0, 1.0, 1.0], jnp.float32)
    centres = jnp.concatenate([locations.centres, locations.centres], axis=-1)
    signed = distances * signs.reshape(*[1] * (distances.ndim - 1), 4)
    return signed + centres.reshape(*[1] * (distances.ndim - 2), *centres.shape)


def _side_distances(locations: Grid, boxes: Float[Array, "m 4"]) -> Float[Array, "l m 4"]:
    """Return how far each location lies inside each side of each box."""
    centres = jnp.asarray(locations.centres)[:, None, :]
    return jnp.concatenate([centres - boxes[None, :, :2], boxes[None, :, 2:] - centres], axis=-1)
