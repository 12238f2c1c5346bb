"""Read COCO annotations: boxes in one JSON file per split.

The files are in `annotations/` (`instances_*` if a split has several), in the split's own folder,
or beside it, and are identified by the split in their names or folders; a file without one is
"train" if there is only one. Images are found by `file_name` relative to the JSON's folder, the
top, or a folder there with the name of the split or the end of the JSON's name (`train2017`),
directly or below `images`. Category ids may have gaps. A split without annotations is left out.
Objects with `iscrowd` are ignored.
(Lin et al. 2014, "Microsoft COCO"; cocodataset.org/#format-data.)
"""

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.parse_json import parse_json
from imgrec_jax.data.files.access import existing_path, file_path, list_files, read_file
from imgrec_jax.data.layout.split_names import SPLITS, split_in, split_of, without_overlaps
from imgrec_jax.data.sources.box_annotations import Annotation, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)
_TOO_DEEP = 2  # folders above a JSON


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
    path = existing_path(where, "coco")
    root = path if path.is_dir() else path.parent
    scenes: dict[str, list[Scene]] = {}
    categories: dict[int, str] = {}
    for split, file in _files(path).items():
        content = _read(file)
        for entry in _list(content, "categories", file) if "annotations" in content else []:
            known = categories.setdefault(_int(entry, "id", file), str(entry.get("name")))
            if known != str(entry.get("name")):
                raise UserError(
                    f"expected one name for the category {entry['id']} in {root}, got '{known}' "
                    f"and '{entry.get('name')}' in {file.name}; try mending one of the files"
                )
        if not content.get("annotations") and split != "train":
            _LOGGER.warning("%s has no annotations: %s is left out", file, split)
            continue
        scenes[split] = list(_scenes(content, file, root, categories))
    labels = [categories[number] for number in sorted(categories)]
    if not labels or not any(scene.annotations for split in scenes.values() for scene in split):
        raise UserError(f"expected annotated things in {root}, got none; try another path")
    if len(set(labels)) < len(labels):
        raise UserError(f"expected categories of different names in {root}; try renaming one")
    return Annotated(root, scenes, labels)


def _files(path: Path) -> dict[str, Path]:
    """Return the JSON file of each split."""
    if not path.is_dir():
        return {"train": path}
    names = sorted(
        n for n in list_files(path) if n.lower().endswith(".json") and n.count("/") <= _TOO_DEEP
    )
    splits = without_overlaps({name: _split_of(name) for name in names}, _stem)
    files: dict[str, Path] = {}
    for split in ("", *SPLITS):
        found = [name for name, matches in splits.items() if matches == split]
        chosen = [n for n in found if _stem(n).startswith("instances_")] or found
        if len(chosen) > 1 and split:
            raise UserError(
                f"expected one JSON file for {split} in {path}, got {chosen[0]} and {chosen[1]}; "
                "try moving one of them away"
            )
        if len(chosen) == 1:
            files[split] = file_path(path, chosen[0])
    if alone := files.pop("", None):  # one file without the name of a split is train
        files = {"train": alone, **files}
    if not files:
        raise UserError(
            f"expected JSON files of splits in {path}, such as "
            f"annotations/instances_train2017.json, got {', '.join(names[:3]) or 'none'}; "
            "try another path"
        )
    return files


def _split_of(name: str) -> str:
    """Return the split in the name of a JSON file, or of the nearest folder that names one."""
    *folders, _ = name.split("/")
    return split_in(_stem(name)) or next((s for f in reversed(folders) if (s := split_of(f))), "")


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _read(file: Path) -> dict[str, Any]:
    content = parse_json(read_file(file), str(file))
    if not isinstance(content, dict):
        raise UserError(f"expected COCO's JSON object in {file}, got another; try another file")
    return content


def _scenes(
    content: Mapping[str, Any], file: Path, root: Path, categories: Mapping[int, str]
) -> Iterator[Scene]:
    images = {_int(image, "id", file): image for image in _list(content, "images", file)}
    annotations: dict[int, list[Annotation]] = {number: [] for number in images}
    for row, entry in enumerate(_list(content, "annotations", file)):
        image, category = _int(entry, "image_id", file), _int(entry, "category_id", file)
        if image not in images or category not in categories:
            kind, number = ("category", category) if image in images else ("image", image)
            raise UserError(
                f"expected a known {kind}, got {number} in {_place(file, row, entry)}; "
                "try mending the file"
            )
        box = entry.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise UserError(
                f"expected bbox as [x, y, width, height], got {box} in "
                f"{_place(file, row, entry)}; try mending it"
            )
        x, y, width, height = map(float, box)
        if not all(map(math.isfinite, box)) or width < 0 or height < 0:
            raise UserError(
                f"expected a box of a width and height of 0 or more, got {width:g}x{height:g} in "
                f"{_place(file, row, entry)}; try mending or removing it"
            )
        crowd = bool(entry.get("iscrowd", 0))
        corners = (x, y, x + width, y + height)
        where = f"{file}, annotation {entry.get('id')}"
        annotations[image].append(Annotation(categories[category], corners, crowd, where))
    folder = _image_folder(file, root, images)
    for number, image in images.items():
        name = str(image.get("file_name", ""))
        _check_inside(name, file)
        size = (_int(image, "width", file), _int(image, "height", file))
        if min(size) < 1:
            raise UserError(
                f"expected the size of the image {name} in {file}, got {size[0]}x{size[1]}; "
                "try mending the file"
            )
        yield Scene(f"{folder}{name}", *size, annotations[number])


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


def _image_folder(file: Path, root: Path, images: Mapping[int, Any]) -> str:
    """Return the folder of a split's images, relative to the top: "" or with a "/" at its end."""
    if not images:
        raise UserError(f"expected images in {file}, got none; try another file")
    first = str(next(iter(images.values())).get("file_name", ""))
    _check_inside(first, file)
    split = split_in(file.stem)
    names = [file.stem.rpartition("_")[2], *([split] if split else [])]
    here = file.parent.relative_to(root).as_posix()
    below = [f"{above}{name}/" for above in ("", "images/") for name in names]
    candidates = [f"{here}/" if here != "." else "", "", *below, "images/"]
    for folder in candidates:
        if (root / folder / first).is_file():
            return folder
    tried = ", ".join(dict.fromkeys(folder or "." for folder in candidates))
    raise UserError(
        f"expected the image {first} of {file} in {root} (looked in {tried}), got none; "
        "try moving the images there"
    )


def _check_inside(name: str, file: Path) -> None:
    if not name or name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
        raise UserError(
            f"expected the names of images inside the folder, got '{name}' in {file}; "
            "try mending the file"
        )


def _list(content: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UserError(f"expected a list of objects as {key} in {file}, got another; try mending")
    return value


def _int(entry: Mapping[str, Any], key: str, file: Path) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(
            f"expected a whole number as '{key}' of each entry in {file}, got {value!r}; "
            "try mending the file"
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
