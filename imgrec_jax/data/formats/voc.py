"""Read Pascal VOC annotations: one XML file per image.

    Annotations/NAME.xml    JPEGImages/NAME.jpg    ImageSets/Main/{train,val,trainval,test}.txt
    annotations/NAME.xml    images/NAME.jpg
    train/NAME.xml          train/NAME.jpg

An XML file belongs to the image of its name in the same or a parallel folder (`annotation_files`);
`<filename>` decides between several. Splits are those of the lists, else of the folders; without
both all images are "train". A split whose images have no annotations is left out. Corners are used
unchanged; VOC counts pixels from 1, so its boxes start up to one pixel late. Objects marked
`difficult` are ignored, like crowds. An image whose size is not annotated is measured.
(Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge"; the development kit.)
"""

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.text_table import shorten
from imgrec_jax.data.files.access import existing_path, full_name, list_files, read_files
from imgrec_jax.data.files.archive import readable, split_suffix
from imgrec_jax.data.files.xml import Element, parse_xml
from imgrec_jax.data.layout.annotation_files import (
    check_once,
    choose_image,
    match_images,
    warn_unannotated,
)
from imgrec_jax.data.layout.folder_roles import read_places
from imgrec_jax.data.layout.pair_lists import Finder, list_names, names_nothing, read_pairs
from imgrec_jax.data.layout.split_names import SPLITS
from imgrec_jax.data.layout.unread import warn_unread_files
from imgrec_jax.data.sources.box_annotations import Annotation, Scene
from imgrec_jax.data.sources.detection import Annotated, open_scenes
from imgrec_jax.data.sources.image_sizes import with_sizes
from imgrec_jax.data.sources.source import Splits

_LOGGER = logging.getLogger(__name__)
_LISTS = "ImageSets/Main/"
_SHOWN = 30  # cells of a value in messages
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
    """Read the annotations of a data set, but decode no image; see `open_voc`.

    Raises:
        UsageError, UserError: as in `open_voc`.
    """
    root = existing_path(where, "voc")
    if not root.is_dir() and not split_suffix(root)[1]:
        raise UserError(f"expected a folder or an archive, got {root}; try another path")
    names = list_files(root)
    warn_unread_files(names, str(root))
    annotations = [name for name in names if name.lower().endswith(".xml")]
    if not annotations:
        raise UserError(
            f"expected XML files of Pascal VOC in {root}, got none; try the path of a data set "
            "with Annotations/NAME.xml and JPEGImages/NAME.jpg"
        )
    lists = _lists(names, root)
    texts = dict(read_files(root, frozenset([*annotations, *lists.values()])))
    candidates = match_images(names, annotations)
    chosen = _splits(root, lists, texts, candidates, names)
    trees = {name: _parse(texts[name], root, name) for some in chosen.values() for name in some}
    images = {name: _image(tree, candidates[name], root, name) for name, tree in trees.items()}
    check_once(images, str(root))
    if not lists:
        warn_unannotated(names, images.values(), str(root))
    scenes = {
        split: [_scene(trees[name], images[name], full_name(root, name)) for name in some]
        for split, some in chosen.items()
    }
    labels = {entry.label for split in scenes.values() for s in split for entry in s.annotations}
    if not labels:
        raise UserError(f"expected annotated objects in {root}, got none; try another path")
    return Annotated(root, with_sizes(scenes, root), sorted(labels))


def _lists(names: Sequence[str], root: Path) -> dict[str, str]:
    """Return the list file of each split."""
    sets = sorted({name.partition(_LISTS)[0] for name in names if _LISTS in name})
    if len(sets) > 1:
        raise UserError(
            f"expected one data set in {root}, got {readable(sets[0]) or '.'} and "
            f"{readable(sets[1])}; try the path of one, such as VOCdevkit/VOC2007"
        )
    return list_names(names, _LISTS)


def _splits(
    root: Path,
    lists: Mapping[str, str],
    texts: Mapping[str, bytes],
    candidates: Mapping[str, list[str]],
    names: Sequence[str],
) -> dict[str, list[str]]:
    """Return the annotation files of each split."""
    splits = {name: place.split for name, place in read_places(list(candidates)).items()}
    if not lists:
        return {
            split: [name for name in candidates if splits[name] == split]
            for split in SPLITS
            if split in splits.values()
        }
    finder = Finder(candidates, splits, names, str(root))
    chosen: dict[str, list[str]] = {}
    for split, name in lists.items():
        text = decode_text(texts[name], full_name(root, name))
        if split != "train" and names_nothing(text, name, split, finder):
            _LOGGER.warning("%s: %s has no annotations and is left out", root, split)
            continue
        found = list(read_pairs(text, name, split, finder))
        # A line may name an annotation, or its image before it.
        chosen[split] = [file if file in candidates else partners[0] for file, partners in found]
    return chosen


def _parse(data: bytes, root: Path, name: str) -> Element:
    where = full_name(root, name)
    tree = parse_xml(data, where)
    if tree.name != "annotation":
        raise UserError(
            f"expected <annotation> of Pascal VOC in {where}, got <{shorten(tree.name, _SHOWN)}>; "
            "try moving the file away"
        )
    return tree


def _image(tree: Element, candidates: Sequence[str], root: Path, name: str) -> str:
    named = tree.find("filename")
    where = full_name(root, name)
    if image := choose_image(candidates, named.text if named else "", where):
        return image
    raise UserError(
        f"expected an image for {where}, got none of its name; try copying it again, to the same "
        "folder or to JPEGImages beside Annotations"
    )


def _scene(tree: Element, image: str, where: str) -> Scene:
    width = height = 0
    if tree.find("size"):
        width, height = (int(_number(tree, "size", side, where)) for side in ("width", "height"))
    annotations = []
    for element in tree.find_all("object"):
        place = f"{where}, line {element.line}"
        label = element.find("name")
        if label is None or not label.text:
            raise UserError(f"expected <name> in <object>, got none in {place}; try adding it")
        x0, y0, x1, y1 = (_number(element, "bndbox", corner, where) for corner in _CORNERS)
        hard = element.find("difficult")
        ignore = hard is not None and hard.text == "1"
        annotations.append(Annotation(label.text, (x0, y0, x1, y1), ignore, place))
    return Scene(image, width, height, annotations)


def _number(element: Element, block: str, name: str, where: str) -> float:
    found = element.find(block)
    value = found.find(name) if found else None
    text = value.text if value else ""
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    line = (value or found or element).line
    raise UserError(
        f"expected a number in <{block}><{name}>, got '{shorten(text, _SHOWN)}' in {where}, line "
        f"{line}; try correcting it"
    )
