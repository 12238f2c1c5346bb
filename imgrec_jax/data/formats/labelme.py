"""Read labelme annotations: one JSON file per image, for boxes or for label maps.

    a.jpg    a.json     or in folders of splits, or in parallel folders (`annotation_files`)

Shapes with an area are read: rectangles, polygons and circles. In label maps class 0 is the
background, later shapes cover earlier ones, and the label `__ignore__` is ignored.
(github.com/wkentaro/labelme)
"""

import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import read_files
from imgrec_jax.data.formats.labelme_shapes import Labelled, Shape, read_shapes
from imgrec_jax.data.formats.mask_values import numbered_values
from imgrec_jax.data.formats.masks import read_masks
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.layout.mask_pairs import Pair
from imgrec_jax.data.sources.box_annotations import Annotation, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.image_sizes import with_sizes
from imgrec_jax.data.sources.source import Splits

_BACKGROUND, _IGNORED = "_background_", "__ignore__"


def open_labelme_boxes(where: str, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Open a folder or archive of images with labelme's JSON files, for detection.

    Args:
        where: its path; `~` is the home directory.
        shape: (height, width) to stretch images and boxes to; None keeps their size.
        max_boxes: of an image.

    Raises:
        UsageError: no such path; images of several sizes and no shape; too many boxes.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    return open_scenes(read_labelme(where), shape, max_boxes)


def read_labelme(where: str) -> Annotated:
    """Read the boxes of a data set, but decode no image; see `open_labelme_boxes`.

    Raises:
        UsageError, UserError: as in `open_labelme_boxes`.
    """
    root, splits = read_shapes(where)
    scenes = {
        split: [
            Scene(
                one.image,
                one.width,
                one.height,
                [
                    Annotation(shape.label, shape.box(), False, shape.where)
                    for shape in one.shapes
                    if shape.label not in (_BACKGROUND, _IGNORED)
                ],
            )
            for one in some
        ]
        for split, some in splits.items()
    }
    return Annotated(root, with_sizes(scenes, root), _labels(splits, root))


def open_labelme_masks(
    where: str, shape: tuple[int, int] | None = None, **form: Unpack[Form]
) -> Splits:
    """Open a folder or archive of images with labelme's JSON files, for segmentation.

    Args:
        where: its path; `~` is the home directory.
        shape: (height, width) to resize images and label maps to; None keeps their size.
        form: the form to convert images to; an image_size crops the same square from both.

    Raises:
        UsageError, UserError: as in `masks.open_masks`.
    """
    root, splits = read_shapes(where)
    names = ["background", *_labels(splits, root)]
    scenes = {
        split: [Scene(o.image, o.width, o.height, ()) for o in s] for split, s in splits.items()
    }
    sizes = {
        s.name: (s.height, s.width) for some in with_sizes(scenes, root).values() for s in some
    }
    masks = {f"{one.image} (shapes)": one for some in splits.values() for one in some}
    pairs = {
        split: [Pair(one.image, f"{one.image} (shapes)") for one in some]
        for split, some in splits.items()
    }

    def read(wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        yield from read_files(root, frozenset(wanted) - masks.keys())
        for name, one in masks.items():
            if name in wanted:
                yield name, _png(draw_label_map(one.shapes, sizes[one.image], names))

    table = numbered_values(names, str(root))
    return {**read_masks(root, pairs, table, shape, form, read)}


def draw_label_map(
    shapes: Sequence[Shape], size: tuple[int, int], names: Sequence[str]
) -> np.ndarray:
    """Return the label map of shapes, uint8[h, w]: 0 outside of all, 255 where ignored.

    Args:
        shapes: of one image; later ones cover earlier ones.
        size: (height, width).
        names: the class names, the background first.
    """
    from PIL import Image, ImageDraw

    numbers = {name: number for number, name in enumerate(names)}
    numbers |= {_BACKGROUND: 0, _IGNORED: 255}
    label_map = Image.new("L", (size[1], size[0]), 0)
    draw = ImageDraw.Draw(label_map)
    for shape in shapes:
        fill = numbers[shape.label]
        if shape.kind == "polygon":
            draw.polygon(shape.points, fill=fill)
        else:
            x0, y0, x1, y1 = shape.box()  # pixels whose centres are inside
            box = (math.ceil(x0 - 0.5), math.ceil(y0 - 0.5), x1 - 0.5, y1 - 0.5)
            if box[0] <= box[2] and box[1] <= box[3]:
                (draw.ellipse if shape.kind == "circle" else draw.rectangle)(box, fill=fill)
    return np.asarray(label_map)


def _png(label_map: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(label_map).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _labels(splits: Mapping[str, Sequence[Labelled]], root: Path) -> list[str]:
    labels = {shape.label for some in splits.values() for one in some for shape in one.shapes}
    if not (labels := labels - {_BACKGROUND, _IGNORED}):
        raise UserError(f"expected annotated objects in {root}, got none; try another path")
    return sorted(labels)
