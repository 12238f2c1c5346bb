"""Read COCO annotations: boxes in one JSON file per split.

The files are in `annotations/` (`instances_*` if a split has several), in the split's own folder,
or beside it, and are identified by the split in their names or folders; a file without one is
"train" if there is only one. See `coco_files` for the place of images. Category ids may have gaps;
an unused root category is no class. A split without annotations is left out. Objects with
`iscrowd` are ignored. An image whose size is not annotated is measured.
(Lin et al. 2014, "Microsoft COCO"; cocodataset.org/#format-data.)
"""

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.parse_json import parse_json
from imgrec_jax.data.files.access import existing_path, file_path, read_file
from imgrec_jax.data.formats.coco_categories import Category, add_categories, used_names
from imgrec_jax.data.formats.coco_files import find_coco, find_images
from imgrec_jax.data.layout.annotation_files import warn_unannotated
from imgrec_jax.data.layout.unread import warn_unread_files
from imgrec_jax.data.sources.box_annotations import Annotation, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.image_sizes import with_sizes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)


def open_coco(where: str, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Open a folder of images with COCO's JSON files.

    Args:
        where: its path, or that of one JSON file.
        shape: (height, width) to stretch images and boxes to; None keeps their size.
        max_boxes: of an image.

    Raises:
        UsageError: no such path; images of several sizes and no shape; too many boxes.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    return open_scenes(read_coco(where), shape, max_boxes)


def read_coco(where: str) -> Annotated:
    """Read the annotations of a data set, but no image; see `open_coco`.

    Raises:
        UsageError, UserError: as in `open_coco`.
    """
    found = find_coco(existing_path(where, "coco"))
    scenes: dict[str, list[Scene]] = {}
    categories: dict[int, Category] = {}
    used: set[int] = set()
    for split, name in found.json.items():
        file = file_path(found.root, name)
        content = _read(file)
        if "annotations" in content:
            entries = _list(content, "categories", file)
            _check_ids(entries, "category", file)
            add_categories(categories, entries, name)
        if not content.get("annotations") and split != "train":
            _LOGGER.warning("%s has no annotations: %s is left out", file, split)
            continue
        images = _images(content, file)
        files = find_images(
            [str(image.get("file_name", "")) for image in images.values()],
            name, split, found.names, str(found.root),
        )  # fmt: skip
        annotations = _annotations(content, file, images, categories, used)
        scenes[split] = [
            Scene(
                image,
                _size(entry, "width", file),
                _size(entry, "height", file),
                annotations[number],
            )
            for image, (number, entry) in zip(files, images.items(), strict=True)
        ]
    if not any(scene.annotations for split in scenes.values() for scene in split):
        raise UserError(f"expected annotated objects in {found.root}, got none; try another path")
    warn_unread_files(found.names, str(found.root))
    warn_unannotated(
        found.names, (s.name for some in scenes.values() for s in some), str(found.root)
    )
    labels = used_names(categories, used, str(found.root))
    return Annotated(found.root, with_sizes(scenes, found.root), labels)


def _read(file: Path) -> dict[str, Any]:
    content = parse_json(read_file(file), str(file))
    if not isinstance(content, dict):
        raise UserError(f"expected COCO's JSON object in {file}, got another; try another file")
    return content


def _images(content: Mapping[str, Any], file: Path) -> dict[int, dict[str, Any]]:
    """Return the entry of each image by its id."""
    entries = _list(content, "images", file)
    if not entries:
        raise UserError(f"expected images in {file}, got none; try another file")
    return _check_ids(entries, "image", file)


def _check_ids(
    entries: Sequence[dict[str, Any]], kind: str, file: Path
) -> dict[int, dict[str, Any]]:
    """Return entries by id; raise an error if two different ones have the same."""
    by_id: dict[int, dict[str, Any]] = {}
    for entry in entries:
        number = _int(entry, "id", file)
        first = by_id.setdefault(number, entry)
        names = [str(e.get("file_name", e.get("name"))) for e in (first, entry)]
        if names[0] != names[1]:
            raise UserError(
                f"expected one {kind} of the id {number} in {file}, got '{names[0]}' and "
                f"'{names[1]}'; try correcting the file"
            )
    return by_id


def _annotations(
    content: Mapping[str, Any],
    file: Path,
    images: Mapping[int, Any],
    categories: Mapping[int, Category],
    used: set[int],
) -> dict[int, list[Annotation]]:
    """Return the objects of each image by its id, and add the ids of their categories to `used`."""
    annotations: dict[int, list[Annotation]] = {number: [] for number in images}
    for row, entry in enumerate(_list(content, "annotations", file)):
        image, category = _int(entry, "image_id", file), _int(entry, "category_id", file)
        if image not in images or category not in categories:
            kind, number = ("category", category) if image in images else ("image", image)
            raise UserError(
                f"expected a known {kind}, got {number} in {_place(file, row, entry)}; "
                "try correcting the file"
            )
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise UserError(
                f"expected bbox as [x, y, width, height], got {box} in "
                f"{_place(file, row, entry)}; try correcting it"
            )
        x, y, width, height = map(float, box)
        if not all(map(math.isfinite, box)) or width < 0 or height < 0:
            raise UserError(
                f"expected a box of a width and height of 0 or more, got {width:g}x{height:g} in "
                f"{_place(file, row, entry)}; try correcting or removing it"
            )
        crowd = bool(entry.get("iscrowd", 0))
        corners = (x, y, x + width, y + height)
        where = f"{file}, annotation {entry.get('id')}"
        name, area = categories[category].name, _area(entry)
        annotations[image].append(Annotation(name, corners, crowd, where, area))
        used.add(category)
    return annotations


def _area(entry: Mapping[str, Any]) -> float | None:
    """Return the annotated area of an object in pixels; None if there is none."""
    area: Any = entry.get("area")
    return float(area) if _is_number(area) and math.isfinite(area) and area > 0 else None


def _size(image: Mapping[str, Any], side: str, file: Path) -> int:
    """Return the width or height of an image in pixels; 0 if it is not annotated."""
    return _int(image, side, file) if image.get(side) is not None else 0


def _place(file: Path, row: int, entry: Mapping[str, Any]) -> str:
    """Return the name of a row's annotation, with its line; this reads the file again."""
    text = decode_text(read_file(file), str(file))
    begin = re.search(r'"annotations"\s*:\s*\[', text)
    end = begin.end() if begin else len(text)
    try:
        for _ in range(row):
            _, end = json.JSONDecoder().raw_decode(text, text.index("{", end))
        line = text.count("\n", 0, text.index("{", end)) + 1
    except ValueError:  # the word occurred earlier in another place
        return f"{file}, annotation {entry.get('id')}"
    return f"{file}, line {line}, annotation {entry.get('id')}"


def _list(content: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UserError(
            f"expected a list of objects as {key} in {file}, got another; try correcting"
        )
    return value


def _int(entry: Mapping[str, Any], key: str, file: Path) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(
            f"expected a whole number as '{key}' of each entry in {file}, got {value!r}; "
            "try correcting the file"
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
