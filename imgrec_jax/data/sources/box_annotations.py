"""Box annotations of images: validate them and pack them into arrays."""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError

_LOGGER = logging.getLogger(__name__)


Box = tuple[float, float, float, float]


class Annotation(NamedTuple):
    """One annotated object.

    Attributes:
        label: its class.
        box: x0, y0, x1, y1 in pixels of the image as stored.
        ignore: a crowd or a difficult object: neither trained on nor scored.
        where: the file and position of the annotation, for messages.
        area: in pixels, if it is annotated, such as that of an outline; None: that of the box.
    """

    label: str
    box: Box
    ignore: bool
    where: str
    area: float | None = None


@dataclass(frozen=True)
class Scene:
    """An image with its annotations.

    Attributes:
        name: the image's name in its folder or archive.
        width, height: its size in pixels, according to the annotation.
        annotations: in the order of the annotation.
    """

    name: str
    width: int
    height: int
    annotations: Sequence[Annotation]


def clean(scenes: Iterable[Scene], where: str) -> list[Scene]:
    """Return the scenes with boxes clipped to their images, without repeated and empty ones.

    Warnings report how many boxes were clipped, without area, and repeated, and how many images
    have boxes that fit only the image before its orientation turns it.

    Raises:
        UserError: a box is inverted, or is not a box.
    """
    clipped = dropped = 0
    cleaned = []
    repeated: list[tuple[Annotation, Annotation]] = []
    turned: list[str] = []
    for scene in scenes:
        if _fits_only_turned(scene):
            turned.append(scene.name)
        kept: dict[tuple[str, Box, bool], Annotation] = {}
        for annotation in scene.annotations:
            box = _clip(annotation, scene.width, scene.height)
            if box[0] == box[2] or box[1] == box[3]:
                dropped += 1
                continue
            clipped += box != annotation.box
            key = annotation.label, box, annotation.ignore
            if key in kept:
                repeated.append((kept[key], annotation))
            else:
                kept[key] = annotation._replace(box=box)
        cleaned.append(replace(scene, annotations=list(kept.values())))
    if repeated:
        _LOGGER.warning(
            "%s: %d boxes repeat another with the same label and are left out, such as %s = %s",
            where, len(repeated), repeated[0][1].where, repeated[0][0].where,
        )  # fmt: skip
    if turned:
        _LOGGER.warning(
            "%s: %d images, such as %s, have boxes that fit only with width and height swapped; if "
            "an EXIF orientation turns these images, try removing it with exiftool -Orientation=",
            where, len(turned), turned[0],
        )  # fmt: skip
    if clipped or dropped:
        _LOGGER.warning(
            "%s: %d boxes reach outside their images and are clipped, %d without area are left out",
            where,
            clipped,
            dropped,
        )
    return cleaned


def warn_of_relative(scenes: Iterable[Scene], where: str) -> None:
    """Print one warning if most boxes lie within the first pixel, as fractions of a side do."""
    boxes = inside = 0
    example = ""
    for scene in scenes:
        for entry in scene.annotations:
            boxes += 1
            if min(scene.width, scene.height) > 1 and max(entry.box) <= 1:
                inside += 1
                example = example or entry.where
    if 2 * inside > boxes:
        _LOGGER.warning(
            "%s: %d of %d boxes lie between 0 and 1, as fractions of the sides do; pixels are "
            "expected, the first in %s; try multiplying them by the width and height of the image",
            where, inside, boxes, example,
        )  # fmt: skip


def _fits_only_turned(scene: Scene) -> bool:
    """Return whether boxes lie in the image only if its width and height are swapped."""
    if not scene.annotations or scene.width == scene.height:
        return False
    right, bottom = (max(a.box[side] for a in scene.annotations) - 1 for side in (2, 3))
    fits = right <= scene.width and bottom <= scene.height
    return not fits and right <= scene.height and bottom <= scene.width


def check_limit(scenes: Iterable[Scene], max_boxes: int) -> None:
    """Raise an error if an image has too many boxes, and report the largest number in any image.

    Raises:
        UsageError: an image has more than `max_boxes`.
    """
    fullest = max(scenes, key=lambda scene: len(scene.annotations))
    count = len(fullest.annotations)
    if count > max_boxes:
        raise UsageError(
            f"expected at most data.max_boxes={max_boxes} boxes in an image, got {count} in "
            f"{fullest.name}; try --config.data.max_boxes={count}"
        )


def pack(
    scenes: Sequence[Scene],
    label_names: Sequence[str],
    shape: tuple[int, int] | None,
    max_boxes: int,
) -> dict[str, np.ndarray]:
    """Return the boxes as arrays, scaled with their images to the shape (height, width), if any.

    These are `boxes` (float32[n, max_boxes, 4]), `box_label` (int32[n, max_boxes]), `box_mask`
    and `box_ignore` (bool[n, max_boxes]); `box_mask` is false in padding. Not scaled are
    `box_area` (float32[n, max_boxes]) and `image_size` (int32[n, 2], height and width).

    No image has more than `max_boxes` (see `check_limit`).
    """
    size = (len(scenes), max_boxes)
    boxes, labels = np.zeros((*size, 4), np.float32), np.zeros(size, np.int32)
    mask, ignore, area = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, np.float32)
    numbers = {name: number for number, name in enumerate(label_names)}
    for row, scene in enumerate(scenes):
        height, width = shape or (scene.height, scene.width)
        factor = np.array([width / scene.width, height / scene.height] * 2)
        for place, annotation in enumerate(scene.annotations):
            boxes[row, place] = np.asarray(annotation.box) * factor
            labels[row, place] = numbers[annotation.label]
            ignore[row, place] = annotation.ignore
            area[row, place] = _area(annotation)
        mask[row, : len(scene.annotations)] = True
    image_size = np.array([[scene.height, scene.width] for scene in scenes], np.int32)
    return {
        "boxes": boxes,
        "box_label": labels,
        "box_mask": mask,
        "box_ignore": ignore,
        "box_area": area,
        "image_size": image_size.reshape(-1, 2),
    }


def _area(annotation: Annotation) -> float:
    x0, y0, x1, y1 = annotation.box
    return (x1 - x0) * (y1 - y0) if annotation.area is None else annotation.area


def _clip(annotation: Annotation, width: int, height: int) -> Box:
    x0, y0, x1, y1 = annotation.box
    if not all(map(math.isfinite, annotation.box)) or x1 < x0 or y1 < y0:
        raise UserError(
            f"expected a box whose left and top come before its right and bottom, got "
            f"{x0:g}, {y0:g}, {x1:g}, {y1:g} in {annotation.where}; try correcting or removing it"
        )
    return (
        min(max(x0, 0.0), float(width)),
        min(max(y0, 0.0), float(height)),
        min(max(x1, 0.0), float(width)),
        min(max(y1, 0.0), float(height)),
    )
