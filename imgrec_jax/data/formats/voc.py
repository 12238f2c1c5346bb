"""Read Pascal VOC annotations: one XML file per image, and lists of the splits.

    Annotations/NAME.xml    JPEGImages/NAME.jpg    ImageSets/Main/{train,val,trainval,test}.txt

The folders may be nested in the folder or archive. Without lists all images are "train";
`trainval.txt` is used if there is no `train.txt`. A split whose images have no annotations is left
out. Corners are used unchanged; VOC counts pixels from 1, so its boxes start up to one pixel late.
Objects marked `difficult` are ignored, like crowds.
(Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge"; the development kit.)
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import (
    existing_path,
    full_name,
    list_files,
    read_files,
    unreadable,
)
from imgrec_jax.data.files.archive import readable, split_suffix
from imgrec_jax.data.files.xml import Element, parse_xml
from imgrec_jax.data.layout.csv_lines import decode_text
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.sources.box_annotations import Scene, Thing
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)
_FOLDER = "Annotations/"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def open_voc(where: str, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Open a folder or archive in the layout of Pascal VOC.

    Args:
        where: its path; `~` is the home directory.
        shape: (height, width) to stretch images and boxes to; None keeps their size.
        max_boxes: of an image.

    Raises:
        UsageError: no such path; images of several sizes and no shape; too many boxes.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    return open_scenes(read_voc(where), shape, max_boxes)


def read_voc(where: str) -> Annotated:
    """Read the annotations of a data set, but no image; see `open_voc`.

    Raises:
        UsageError, UserError: as in `open_voc`.
    """
    root = existing_path(where, "voc")
    if not root.is_dir() and not split_suffix(root)[1]:
        raise UserError(f"expected a folder or an archive, got {root}; try another path")
    try:
        names = list_files(root)
        base = _base(names, root)
        images = _images(names, base, root)
        annotated = {
            name.removeprefix(base + _FOLDER)[:-4]: name
            for name in names
            if name.startswith(base + _FOLDER) and name.endswith(".xml")
        }
        lists = [n for n in names if n.startswith(f"{base}ImageSets/Main/") and n.endswith(".txt")]
        texts = dict(read_files(root, frozenset([*annotated.values(), *lists])))
    except OSError as error:
        raise unreadable(root, error) from error
    wanted = _splits(root, base, {n: texts[n] for n in lists}, annotated)
    scenes = {
        split: [
            _scene(texts[annotated[stem]], full_name(root, annotated[stem]), images.get(stem))
            for stem in stems
        ]
        for split, stems in wanted.items()
    }
    labels = {thing.label for split in scenes.values() for s in split for thing in s.things}
    if not labels:
        raise UserError(f"expected annotated things in {root}, got none; try another path")
    return Annotated(root, scenes, sorted(labels))


def _base(names: list[str], root: Path) -> str:
    """Return the path before `Annotations/` in the names of files."""
    bases = {
        name[: name.index(_FOLDER)]
        for name in names
        if name.endswith(".xml") and (name.startswith(_FOLDER) or f"/{_FOLDER}" in name)
    }
    if len(bases) != 1:
        found = ", ".join(readable(base + _FOLDER) for base in sorted(bases)) or "none"
        raise UserError(
            f"expected one folder Annotations with XML files in {root}, got {found}; "
            "try the path of one data set, such as VOCdevkit/VOC2007"
        )
    return bases.pop()


def _images(names: list[str], base: str, root: Path) -> dict[str, str]:
    """Return the name of each image, by its name without suffix."""
    folder = f"{base}JPEGImages/"
    found = [name for name in names if name.startswith(folder) and is_image(name)]
    if not found:
        raise UserError(f"expected images in {root / folder}, got none; try another path")
    return {name.removeprefix(folder).rpartition(".")[0]: name for name in found}


def _splits(
    root: Path, base: str, lists: Mapping[str, bytes], annotated: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the images of each split, by name without suffix."""
    read: dict[str, list[str]] = {}
    for name, data in lists.items():
        text = decode_text(data, full_name(root, name))
        stem = name.removeprefix(f"{base}ImageSets/Main/").removesuffix(".txt")
        read[stem] = [line.split()[0] for line in text.splitlines() if line.strip()]
    if "train" not in read and "trainval" in read:
        read["train"] = read["trainval"]
        read.pop("val", None)  # it is part of trainval
    splits = {split: read[split] for split in ("train", "val", "test") if read.get(split)}
    if not splits:
        return {"train": sorted(annotated)}
    for split, stems in list(splits.items()):
        missing = [stem for stem in stems if stem not in annotated]
        if len(missing) == len(stems) and split != "train":
            _LOGGER.warning("%s: %s has no annotations and is left out", root, split)
            del splits[split]
        elif missing:
            wanted = full_name(root, f"{base}{_FOLDER}{missing[0]}.xml")
            raise UserError(
                f"expected {wanted}, which {split}.txt names, got none; "
                "try copying it, or removing the line"
            )
    return splits


def _scene(data: bytes, where: str, image: str | None) -> Scene:
    tree = parse_xml(data, where)
    if image is None:
        raise UserError(
            f"expected an image in JPEGImages for {where}, got none; try copying it again"
        )
    width, height = (int(_number(tree, "size", side, where)) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise UserError(
            f"expected the size of the image in {where}, got {width}x{height}; try mending it"
        )
    things = []
    for element in tree.find_all("object"):
        place = f"{where}, line {element.line}"
        label = element.find("name")
        if label is None or not label.text:
            raise UserError(f"expected <name> in <object>, got none in {place}; try adding it")
        x0, y0, x1, y1 = (_number(element, "bndbox", corner, where) for corner in _CORNERS)
        hard = element.find("difficult")
        ignore = hard is not None and hard.text == "1"
        things.append(Thing(label.text, (x0, y0, x1, y1), ignore, place))
    return Scene(image, width, height, things)


def _number(element: Element, block: str, name: str, where: str) -> float:
    found = element.find(block)
    value = found.find(name) if found else None
    text = value.text if value else ""
    try:
        return float(text)
    except ValueError:
        line = (value or found or element).line
        raise UserError(
            f"expected a number in <{block}><{name}>, got '{text}' in {where}, line {line}; "
            "try mending it"
        ) from None
