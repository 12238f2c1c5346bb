"""Read boxes and label maps of TFDS sets that were prepared as ArrayRecord.

Boxes are in a sequence, such as `objects`: `bbox` as (ymin, xmin, ymax, xmax) in fractions of the
image's sides, mostly with a class, and with `is_crowd` or `is_difficult` for ignored boxes.
Label maps are a second image, such as `segmentation_mask`.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.mask_values import numbered_values, read_mask_values
from imgrec_jax.data.formats.masks import read_masks
from imgrec_jax.data.formats.tfds import Opened, choose, open_views, unusable
from imgrec_jax.data.formats.tfds_records import Records
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.images.image_size import image_size
from imgrec_jax.data.layout.mask_pairs import Pair
from imgrec_jax.data.sources.box_annotations import Annotation, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)
_MASKS = ("segmentation_mask", "segmentation_label", "annotation", "mask", "label_map")
_IGNORED = ("is_crowd", "is_difficult")


class _Boxes(NamedTuple):
    """Names of features: the sequence, its boxes, and the classes.

    `classes` is `label` of the sequence, or of the whole record if `shared`, or "". `area` is ""
    where areas are not annotated.
    """

    sequence: str
    box: str
    classes: str
    shared: bool
    ignored: tuple[str, ...]
    names: tuple[str, ...]
    area: str = ""


def open_record_boxes(folder: Path, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Return the splits of a prepared set with boxes; without class names there is one class.

    All records are read once for their boxes. A split other than train without boxes is left out.

    Args:
        folder: of one version, with its `dataset_info.json`.
        shape: (height, width) to stretch images and boxes to; None keeps their size.
        max_boxes: of an image.

    Raises:
        UsageError: images of several sizes and no shape; too many boxes.
        UserError: the set is damaged, or has no boxes.
    """
    return open_scenes(read_record_boxes(folder), shape, max_boxes)


def read_record_boxes(folder: Path) -> Annotated:
    """Read the boxes of a prepared set, but decode no image; see `open_record_boxes`.

    Raises:
        UserError: as in `open_record_boxes`.
    """
    opened = open_views(folder)
    boxes = _find_boxes(opened, folder)
    key = choose(opened.images, (*opened.supervised[:1], "image"))
    if not key:
        raise unusable(folder, "one image for each example", ", ".join(sorted(opened.features)))
    splits = {
        split: Records(view, f"{folder} {split}", key, "", boxes.names, opened.features[key].shape)
        for split, view in opened.views.items()
    }
    _LOGGER.info("%s: reading the boxes of all records, once", folder)
    scenes: dict[str, list[Scene]] = {}
    for split, records in splits.items():
        scenes[split] = list(_scenes(records, boxes))
        if split != "train" and not any(scene.annotations for scene in scenes[split]):
            _LOGGER.warning("%s: %s has no annotations and is left out", folder, split)
            del scenes[split]
    if not any(scene.annotations for found in scenes.values() for scene in found):
        raise UserError(f"expected annotated objects in {folder}, got none; try another set")
    return Annotated(folder, scenes, boxes.names, splits)


def open_record_masks(
    folder: Path, values: str = "", shape: tuple[int, int] | None = None, **form: Unpack[Form]
) -> Splits:
    """Return the splits of a prepared set with label maps; see `open_masks` for their fields.

    Classes come from `values`, the set itself, or the values in the masks of train.

    Args:
        folder: of one version, with its `dataset_info.json`.
        values: the setting `data.mask_values`.
        shape: height and width to resize images and masks to.
        form: the form to convert images to; grey sets keep their one channel.

    Raises:
        UsageError: an impossible table, images of several sizes and no shape.
        UserError: the set is damaged, has no label maps, or does not fit in memory.
    """
    opened = open_views(folder)
    mask = next((key for key in _MASKS if key in opened.images), "")
    rest = [key for key in opened.images if key != mask]
    image = choose(rest, (*opened.supervised[:1], "image"))
    if not mask or not image:
        expected = f"an image and a label image ({', '.join(_MASKS)})"
        raise unusable(folder, expected, ", ".join(sorted(opened.features)))
    if opened.features[image].shape[2] == 1:
        form = {"channels": 1, **{k: v for k, v in form.items() if v}}  # pyright: ignore
    names = getattr(opened.features[mask], "names", ()) if _is_labelled(opened, mask) else ()
    table = read_mask_values(values)
    if table is None and names:
        table = numbered_values(names, f"{mask} of {folder}")
    splits = {
        split: Records(view, f"{folder} {split}", image, "", (), opened.features[image].shape)
        for split, view in opened.views.items()
    }
    pairs = {
        split: [Pair(f"{split}[{row}]/{image}", f"{split}[{row}]/{mask}") for row in range(len(r))]
        for split, r in splits.items()
    }

    def read(requested: Collection[str]) -> Iterator[tuple[str, bytes]]:
        del requested  # the whole set is read
        for split, records in splits.items():
            for rows, fetched in records.chunks():
                for row, record in zip(rows, fetched, strict=True):
                    yield pairs[split][row].image, record[image]
                    yield pairs[split][row].mask, record[mask]

    return {**read_masks(folder, pairs, table, shape, form, read)}


def _is_labelled(opened: Opened, key: str) -> bool:
    """Return whether the set itself names the values of a label image."""
    import tensorflow_datasets as tfds

    kind = opened.features[key]
    return isinstance(kind, tfds.features.LabeledImage) and bool(kind.num_classes)


def _find_boxes(opened: Opened, folder: Path) -> _Boxes:
    import tensorflow_datasets as tfds

    kinds = tfds.features
    inner: dict[str, Mapping[str, Any]] = {}
    for key, kind in opened.features.items():
        if isinstance(kind, kinds.Sequence) and isinstance(kind.feature, kinds.FeaturesDict):
            parts = dict(kind.feature.items())
            if any(isinstance(part, kinds.BBoxFeature) for part in parts.values()):
                inner[key] = parts
    sequence = choose(list(inner), ("objects",))
    if not sequence:
        got = ", ".join(sorted(opened.features))
        raise unusable(folder, "one sequence with boxes, such as objects with bbox", got)
    parts = inner[sequence]
    found = [key for key, part in parts.items() if isinstance(part, kinds.BBoxFeature)]
    box = choose(found, ("bbox",))
    order = getattr(parts[box].bbox_format, "value", None) if box else "several"
    if order not in (None, "REL_YXYX"):
        raise unusable(folder, "boxes as relative ymin, xmin, ymax, xmax", order)
    own = [key for key, part in parts.items() if isinstance(part, kinds.ClassLabel)]
    outer = [key for key, kind in opened.features.items() if isinstance(kind, kinds.ClassLabel)]
    classes = choose(own, ("label",))
    shared = "" if classes else choose(outer, ("label",))
    names = (sequence,)
    if classes or shared:
        names = tuple((parts[classes] if classes else opened.features[shared]).names)
    ignored = tuple(key for key in _IGNORED if key in parts)
    area = "area" if "area" in parts else ""
    return _Boxes(sequence, box, classes or shared, bool(shared), ignored, names, area)


def _scenes(records: Records, boxes: _Boxes) -> Iterator[Scene]:
    for rows, fetched in records.chunks():
        for row, record in zip(rows, fetched, strict=True):
            name = records.name(row)
            height, width = image_size(record[records.image_key], name)
            objects = record[boxes.sequence]
            corners = np.asarray(objects[boxes.box], np.float64).reshape(-1, 4)
            labels = np.zeros(len(corners), np.int64)
            if boxes.classes:
                labels[:] = (record if boxes.shared else objects)[boxes.classes]
            ignore = labels < 0  # TFDS's "unknown"
            for key in boxes.ignored:
                ignore = ignore | np.asarray(objects[key], bool).reshape(-1)
            found = []
            for number, (y0, x0, y1, x1) in enumerate(corners.tolist()):
                label = boxes.names[max(int(labels[number]), 0)]
                box = (x0 * width, y0 * height, x1 * width, y1 * height)
                where = f"{name}, box {number + 1}"
                area = float(objects[boxes.area][number]) if boxes.area else None
                found.append(Annotation(label, box, bool(ignore[number]), where, area))
            yield Scene(name, width, height, found)
