"""Training targets of a dense detector (Tian et al. 2019, "FCOS")."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.ops.boxes import area

_REACH = 8.0  # a level sees boxes whose farthest side is up to 8 of its strides away (section 3.2)
_RADIUS = 1.5  # of the part of a box that counts as its middle, in strides


class Grid(NamedTuple):
    """The places of all levels in a row, finest first.

    Attributes:
        centres: (x, y) in pixels.
        strides: pixels between neighbours.
        nearest, farthest: the distances to a box's farthest side that the place is for.
    """

    centres: Float[np.ndarray, "l 2"]
    strides: Float[np.ndarray, " l"]
    nearest: Float[np.ndarray, " l"]
    farthest: Float[np.ndarray, " l"]


class Targets(NamedTuple):
    """What the places of one image are to say.

    Attributes:
        truth: the number of the box that a place is responsible for, or -1.
        counted: false where a place is in an ignored box and responsible for none: whatever it
            says there is neither right nor wrong.
    """

    truth: Int[Array, " l"]
    counted: Bool[Array, " l"]


def grid(height: int, width: int, strides: Sequence[int]) -> Grid:
    """Return the places of an image: per level ceil(height / stride) · ceil(width / stride)."""
    levels = []
    for number, stride in enumerate(strides):
        y, x = np.mgrid[: -(-height // stride), : -(-width // stride)]
        centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        near = _REACH * strides[number - 1] if number else 0.0
        far = np.inf if stride == strides[-1] else _REACH * stride
        levels.append([centres, *(np.full(len(centres), v) for v in (stride, near, far))])
    return Grid(*(np.concatenate(part).astype(np.float32) for part in zip(*levels, strict=True)))


def assign_places(
    places: Grid,
    boxes: Float[Array, "m 4"],
    mask: Bool[Array, " m"],
    ignore: Bool[Array, " m"],
) -> Targets:
    """Return which of an image's boxes each place is responsible for.

    A place is responsible for a box if it lies in its middle (within 1.5 strides of its centre,
    and in it) and if the box's farthest side is as far as the place's level is for. Of several
    boxes the smallest is taken (sections 3.1 and 3.2; the middle as in the authors' later code).
    """
    inwards = _inwards(places, boxes)
    inside = inwards.min(-1) > 0
    reach = inwards.max(-1)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    offset = jnp.abs(jnp.asarray(places.centres)[:, None, :] - middle[None]).max(-1)
    central = offset < _RADIUS * jnp.asarray(places.strides)[:, None]
    fits = (reach > places.nearest[:, None]) & (reach <= places.farthest[:, None])
    responsible = inside & central & fits & (mask & ~ignore)[None, :]
    areas = jnp.where(responsible, area(boxes)[None, :], jnp.inf)
    positive = responsible.any(-1)
    truth = jnp.where(positive, areas.argmin(-1), -1).astype(jnp.int32)
    return Targets(truth, positive | ~(inside & (mask & ignore)[None, :]).any(-1))


def boxes_around(places: Grid, distances: Float[Array, "*n l 4"]) -> Float[Array, "*n l 4"]:
    """Return the boxes whose left, top, right and bottom sides are so far from the places."""
    signs = jnp.asarray([-1.0, -1.0, 1.0, 1.0], jnp.float32)
    centres = jnp.concatenate([places.centres, places.centres], axis=-1)
    signed = distances * signs.reshape(*[1] * (distances.ndim - 1), 4)
    return signed + centres.reshape(*[1] * (distances.ndim - 2), *centres.shape)


def _inwards(places: Grid, boxes: Float[Array, "m 4"]) -> Float[Array, "l m 4"]:
    """Return how far each place lies inside each side of each box."""
    centres = jnp.asarray(places.centres)[:, None, :]
    return jnp.concatenate([centres - boxes[None, :, :2], boxes[None, :, 2:] - centres], axis=-1)
