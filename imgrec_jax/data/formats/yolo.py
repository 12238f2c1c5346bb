"""Read YOLO annotations: one text file per image, and possibly a `data.yaml`.

    data.yaml             names: [cup, pen]; train: images/train; val: images/val
    images/train/a.jpg    labels/train/a.txt

A text file belongs to the image of its name in the same or a parallel folder (`annotation_files`).
Its lines are "CLASS X Y WIDTH HEIGHT" in fractions of the image's sides, X and Y of the centre, or
"CLASS X Y X Y X Y ..", a polygon whose box is taken. An image without a file has no objects. Splits
and class names come from the YAML file (`yolo_files`), else from folders, and from `classes.txt`.
(docs.ultralytics.com/datasets/detect)
"""

import logging
import math
from collections.abc import Mapping, Sequence

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import full_name, read_files
from imgrec_jax.data.formats.yolo_files import YoloFiles, find_yolo
from imgrec_jax.data.sources.box_annotations import Annotation, Box, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.image_sizes import image_sizes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)
_BOX, _SHORTEST_POLYGON = 4, 6  # numbers after the class
_TOLERANCE = 0.01  # by which a rounded box may reach outside


def open_yolo(where: str, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Open a folder or archive of images with YOLO's text files.

    Args:
        where: its path, or that of its YAML file; `~` is the home directory.
        shape: (height, width) to stretch images and boxes to; None keeps their size.
        max_boxes: of an image.

    Raises:
        UsageError: no such path; images of several sizes and no shape; too many boxes.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    return open_scenes(read_yolo(where), shape, max_boxes)


def read_yolo(where: str) -> Annotated:
    """Read the annotations of a data set, but decode no image; see `open_yolo`.

    Raises:
        UsageError, UserError: as in `open_yolo`.
    """
    found = find_yolo(where)
    splits = _annotated_splits(found)
    images = [image for some in splits.values() for image in some]
    lines = _read_lines(found)
    sizes = image_sizes(found.root, images)
    names = found.names or _numbers(lines)
    scenes = {
        split: [
            _scene(image, sizes[image], lines.get(found.labels.get(image, ""), ()), names, found)
            for image in some
        ]
        for split, some in splits.items()
    }
    if not any(scene.annotations for some in scenes.values() for scene in some):
        raise UserError(f"expected annotated objects in {found.root}, got none; try another path")
    return Annotated(found.root, scenes, list(names.values()))


def _annotated_splits(found: YoloFiles) -> dict[str, list[str]]:
    """Return the images of each split, without splits that have no text file at all."""
    kept = {}
    for split, images in found.splits.items():
        lacking = [image for image in images if image not in found.labels]
        if split != "train" and len(lacking) == len(images):
            _LOGGER.warning("%s: %s has no annotations and is left out", found.root, split)
            continue
        if lacking:
            _LOGGER.warning(
                "%s: %d images of %s have no text file and count as without objects, such as %s",
                found.root, len(lacking), split, lacking[0],
            )  # fmt: skip
        kept[split] = images
    return kept


Numbers = tuple[int, list[float], int]
"""Of a line: the class, the numbers after it, and the line's own number."""


def _read_lines(found: YoloFiles) -> dict[str, list[Numbers]]:
    """Return the lines of each text file."""
    lines: dict[str, list[Numbers]] = {}
    for name, data in read_files(found.root, frozenset(found.labels.values())):
        where = full_name(found.root, name)
        text = decode_text(data, where)
        lines[name] = [
            _parse(line.split(), f"{where}, line {number}", number, points=found.points)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
    return lines


def _parse(words: Sequence[str], where: str, number: int, *, points: bool) -> Numbers:
    try:
        label, *values = map(float, words)
    except ValueError:
        label, values = math.nan, []
    values = values[:_BOX] if points else values
    polygon = len(values) >= _SHORTEST_POLYGON and len(values) % 2 == 0
    if not (label >= 0 and label.is_integer()) or not (len(values) == _BOX or polygon):
        raise UserError(
            f"expected 'CLASS X Y WIDTH HEIGHT' or 'CLASS X Y X Y X Y ..' in numbers, got "
            f"'{' '.join(words)[:60]}' in {where}; try correcting or removing it"
        )
    outside = [v for v in values if not -_TOLERANCE <= v <= 1 + _TOLERANCE]
    if outside:
        raise UserError(
            f"expected fractions of the image's sides (0 to 1), got {outside[0]:g} in {where}; "
            "try dividing by its width and height"
        )
    return int(label), values, number


def _numbers(lines: Mapping[str, Sequence[Numbers]]) -> dict[int, str]:
    """Return the classes that occur, named by their numbers."""
    return {label: str(label) for label in sorted({n[0] for some in lines.values() for n in some})}


def _scene(
    image: str,
    size: tuple[int, int],
    lines: Sequence[Numbers],
    names: Mapping[int, str],
    found: YoloFiles,
) -> Scene:
    height, width = size
    annotations = []
    for label, values, number in lines:
        where = f"{full_name(found.root, found.labels[image])}, line {number}"
        if label not in names:
            raise UserError(
                f"expected a class from 0 to {max(names)}, which have names, got {label} in "
                f"{where}; try adding its name, or correcting the line"
            )
        x0, y0, x1, y1 = _corners(values)
        box = x0 * width, y0 * height, x1 * width, y1 * height
        annotations.append(Annotation(names[label], box, False, where))
    return Scene(image, width, height, annotations)


def _corners(values: Sequence[float]) -> Box:
    """Return the box of a line's numbers in fractions of the sides."""
    if len(values) > _BOX:
        xs, ys = values[::2], values[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
