"""What the folders of a file say: image or annotation, and its split.

`images/train/a.jpg`, `train_images/a.jpg` and `masks_train/a.png` all have the key (train, a):
files of one key belong together.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from imgrec_jax.data.layout.split_names import split_of

_ANNOTATION = (
    "annotations?|annots?|anns?|masks?|labels?|segmentations?|seg|gt|ground[ _-]?truths?|"
    "xmls?|targets?|segmentationclass(?:png|aug)?|gtfine(?:_.*)?"
)
_IMAGES = "images?|imgs?|photos?|pictures?"
_IMAGE_FOLDER = re.compile(
    rf"(?:\w*[a-z])?[ _-]?(?:{_IMAGES})|(?:{_IMAGES})[ _-].+|leftimg8bit(?:_.*)?", re.IGNORECASE
)
_ANNOTATION_FOLDER = re.compile(
    rf"(?P<before>.*?)[ _-]?(?:{_ANNOTATION})|(?:{_ANNOTATION})[ _-](?P<after>.+)", re.IGNORECASE
)

Key = tuple[str, ...]
"""The folders without those of a role, and the name without its suffix."""


class Place(NamedTuple):
    """What the folders and the name of a file say.

    Attributes:
        role: "image", "annotation", or "" if no folder says so.
        split: of the innermost folder that names one; "train" without one.
        key: see `Key`.
    """

    role: str
    split: str
    key: Key


def read_places(names: Sequence[str]) -> dict[str, Place]:
    """Return the place of each file; the folders around all of them say nothing about a role."""
    shared = len(_shared_folders(names))
    return {name: _place(name, shared) for name in names}


def _shared_folders(names: Sequence[str]) -> list[str]:
    """Return the folders around all files."""
    if not names:
        return []
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    shared = []
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared.append(one)
    return shared


def _place(name: str, shared: int) -> Place:
    *folders, file = name.split("/")
    role, split, rest = "", "train", []
    for depth, folder in enumerate(folders):
        own_role, own_split = _read_folder(folder)
        if own_role and depth >= shared:
            role = own_role
        split = own_split or split
        if own_split or not own_role:
            rest.append(own_split or folder)
    return Place(role, split, (*rest, PurePosixPath(file).stem))


@functools.lru_cache(maxsize=4096)  # most files share their folders
def _read_folder(folder: str) -> tuple[str, str]:
    """Return the role and the split that a folder's name means; "" for none."""
    if match := _ANNOTATION_FOLDER.fullmatch(folder):
        return "annotation", split_of(match["before"] or match["after"] or "")
    return "image" if _IMAGE_FOLDER.fullmatch(folder) else "", split_of(folder)
