"""Pair images with their label images, and assign the pairs to splits."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.splits_and_classes import SPLITS

_LOGGER = logging.getLogger(__name__)
_IMAGES = {"images", "image", "imgs", "img", "jpegimages", "pictures", "leftimg8bit"}
_MASKS = {
    *("masks", "mask", "labels", "label", "annotations", "annots", "segmentationclass"),
    *("gt", "gtfine", "groundtruth", "ground_truth"),
}
_OTHER = {"segmentationobject"}
_MASK_FOLDER = re.compile(r"(.+?)_?(?:annot|annots|annotations|masks?|labels?)", re.IGNORECASE)
_MASK_STEM = re.compile(r"(.+)_(?:masks?|labels?|seg|L|gtFine_labelTrainIds)")
_LIST = re.compile(r"(?:.*/)?(?:ImageSets/Segmentation/)?([A-Za-z]+)\.txt")


class Pair(NamedTuple):
    """An image and its label image."""

    image: str
    mask: str


class _Place(NamedTuple):
    """The role of a file by its folders: mask or image, its split, and its name."""

    is_mask: bool
    split: str
    key: tuple[str, ...]


def list_names(names: Sequence[str]) -> dict[str, str]:
    """Return the list files of each split: `train.txt` at the top or one folder below, or VOC's.

    VOC's `ImageSets/Segmentation` has priority.
    """
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: "ImageSets/Segmentation/" not in f"/{name}"):
        match = _LIST.fullmatch(name)
        voc = "ImageSets/Segmentation/" in name
        if match and (voc or name.count("/") <= 1) and (split := SPLITS.get(match[1].lower())):
            found.setdefault(split, name)
    if any("ImageSets/Segmentation/" in name for name in found.values()):
        found = {s: name for s, name in found.items() if "ImageSets/Segmentation/" in name}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def pair_files(
    names: Sequence[str], lists: Mapping[str, tuple[str, str]], where: str
) -> dict[str, list[Pair]]:
    """Return the pairs of each split, sorted; lists decide if there are any.

    Without lists `images/x.jpg` is paired with `masks/x.png` (other common names of these folders
    work too, anywhere in the path), `train/x.jpg` with `trainannot/x.png`; the stem of a mask may
    end in `_mask`. Folders `train`, `val` and `test` anywhere in the path are splits; without
    them all pairs are train. A split other than train without any mask is left out.

    Args:
        names: all files.
        lists: by split, name and text of a list file. Its lines are "IMAGE MASK", or the path
            or the stem of an image.
        where: the data set, for messages.

    Raises:
        UserError: an image has no mask, or there are no pairs.
    """
    places = {name: _place(name) for name in names if is_image(name)}
    images = {p.key: name for name, p in places.items() if p and not p.is_mask}
    masks = {p.key: name for name, p in places.items() if p and p.is_mask}
    for key in [key for key in masks if key not in images]:
        match = _MASK_STEM.fullmatch(key[-1])
        if match and (plain := (*key[:-1], match[1])) in images:
            masks.setdefault(plain, masks[key])
    splits: dict[str, list[Pair]] = {}
    if lists:
        finder = _Finder(images, masks, set(places), where)
        for split, (name, text) in lists.items():
            lines = [line.split() for line in text.splitlines() if line.strip()]
            splits[split] = [finder.find(words, name) for words in lines]
    else:
        for key in sorted(images):
            place = places[images[key]]
            assert place is not None
            splits.setdefault(place.split, []).append(Pair(images[key], masks.get(key, "")))
    return _checked(splits, where)


def _checked(splits: Mapping[str, list[Pair]], where: str) -> dict[str, list[Pair]]:
    kept = {}
    for split in ("train", "val", "test"):
        pairs = splits.get(split, [])
        lacking = [pair.image for pair in pairs if not pair.mask]
        if not pairs:
            continue
        if split != "train" and len(lacking) == len(pairs):
            _LOGGER.warning("%s: %s has no masks and is left out", where, split)
            continue
        if lacking:
            raise UserError(
                f"expected a mask for each image of {where}, got none for '{lacking[0]}'"
                f"{f' and {len(lacking) - 1} more' if lacking[1:] else ''}; "
                "try masks/STEM.png beside images/STEM.jpg, or moving the image away"
            )
        kept[split] = pairs
    if not kept:
        raise UserError(
            f"expected images with masks in {where}, got none; "
            "try images/ and masks/ with the same names, or train/ and trainannot/"
        )
    return kept


class _Finder:
    """Find the files that the lines of list files name."""

    def __init__(
        self,
        images: Mapping[tuple[str, ...], str],
        masks: Mapping[tuple[str, ...], str],
        names: set[str],
        where: str,
    ) -> None:
        self._names, self._where = names, where
        self._masks = {images[key]: masks.get(key, "") for key in images}
        self._stems: dict[str, str] = {}
        for name in sorted(images.values()):
            self._stems.setdefault(PurePosixPath(name).stem, name)

    def find(self, words: Sequence[str], listed_in: str) -> Pair:
        if len(words) == 2:
            return Pair(*(self._find_file(word, listed_in) for word in words))
        stem = PurePosixPath(words[0]).name
        if image := self._stems.get(stem) or self._stems.get(PurePosixPath(stem).stem):
            return Pair(image, self._masks[image])
        raise self._missing(words[0], listed_in)

    def _find_file(self, word: str, listed_in: str) -> str:
        """Return the file at a path that is relative to the list or to any folder above both."""
        parts = word.replace("\\", "/").strip("/").split("/")
        folders = ["", *(f"{folder}/" for folder in _above(listed_in))]
        for first in range(len(parts)):
            tail = "/".join(parts[first:])
            for folder in folders:
                if folder + tail in self._names:
                    return folder + tail
        raise self._missing(word, listed_in)

    def _missing(self, word: str, listed_in: str) -> UserError:
        return UserError(
            f"expected the file '{word}' that {listed_in} of {self._where} lists, got none; "
            "try restoring it or removing the line"
        )


def _above(name: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]


def _place(name: str) -> _Place | None:
    *folders, file = name.split("/")
    is_mask, split, rest = False, "train", []
    for folder in folders:
        lower = folder.lower()
        if lower in _OTHER:
            return None
        if lower in _MASKS or lower in _IMAGES:
            is_mask |= lower in _MASKS
            continue
        match = _MASK_FOLDER.fullmatch(lower)
        if match and (match[1] in SPLITS or match[1] == ""):
            is_mask, lower = True, match[1]
        if lower in SPLITS:
            split = lower = SPLITS[lower]
            rest.append(lower)
        else:
            rest.append(folder)
    return _Place(is_mask, split, (*rest, PurePosixPath(file).stem))
