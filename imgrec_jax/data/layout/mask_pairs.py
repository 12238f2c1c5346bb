"""Pair images with their label images, and assign the pairs to splits."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.folder_roles import Key, read_places
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.pair_lists import Finder, read_pairs
from imgrec_jax.data.layout.split_names import SPLITS

_LOGGER = logging.getLogger(__name__)

_NEITHER = re.compile(r"segmentationobject(?:png)?|\w*visuali[sz]ation|gtcoarse.*", re.IGNORECASE)

_IMAGE_STEM = re.compile(r"(.+)_(?:leftImg8bit|sat|images?|img|rgb)", re.IGNORECASE)
_MASK_STEM = re.compile(
    r"(.+?)[ _.-](?:gtFine_label(?:Train)?Ids|masks?|labels?|segmentation|seg|annot|gt|L)",
    re.IGNORECASE,
)
_DRAWN_STEM = re.compile(r".+_gtFine_(?:color|instanceIds)")
_PREFERRED = ("labelTrainIds", "SegmentationClass/")  # of several label images of one image


class Pair(NamedTuple):
    """An image and its label image; "" if it has none."""

    image: str
    mask: str


def pair_files(
    names: Sequence[str], lists: Mapping[str, tuple[str, str]], where: str
) -> dict[str, list[Pair]]:
    """Return the pairs of each split, sorted; lists decide if there are any.

    Without lists `images/x.jpg` is paired with `masks/x.png`, `train_images/x.jpg` with
    `train_masks/x.png`, and `x.jpg` with `x_mask.png` (other common names work too, anywhere in
    the path; so do the folders of Cityscapes). Folders that name a split, anywhere in the path,
    are splits; without them all pairs are train. A split other than train without any mask is
    left out.

    Args:
        names: all files.
        lists: by split, name and text of a list file; see `pair_lists`.
        where: the data set, for messages.

    Raises:
        UserError: an image has no mask, two files claim the same pair, or there are no pairs.
    """
    images, masks, splits_of_images = _sort(names, where)
    matched = _match(images, masks)
    lost = {m for some in masks.values() for m in some}.difference(*matched.values())
    if lost and not lists:
        _LOGGER.warning(
            "%s: %d masks without an image are left out, such as %s", where, len(lost), min(lost)
        )
    if lists:
        finder = Finder(matched, splits_of_images, names, where)
        splits = {
            split: [
                Pair(image, _only(_best(some), where))
                for image, some in read_pairs(text, name, split, finder)
            ]
            for split, (name, text) in lists.items()
        }
    else:
        splits = {}
        for key in sorted(images):
            image = _only(images[key], where)
            pair = Pair(image, _only(_best(matched[image]), where))
            splits.setdefault(splits_of_images[image], []).append(pair)
    return _checked(splits, where)


Files = dict[Key, list[str]]


def _sort(names: Sequence[str], where: str) -> tuple[Files, Files, dict[str, str]]:
    """Return the images and the masks by key, and the split of each image by its folders."""
    files = sorted(name for name in names if is_image(name) and not _is_drawing(name))
    places = read_places(files)
    if any(place.role == "image" for place in places.values()):
        others = [name for name, place in places.items() if not place.role]
        if others:
            _LOGGER.warning(
                "%s: %d images outside the folders of images and masks are left out, such as %s",
                where, len(others), others[0],
            )  # fmt: skip
        places = {name: place for name, place in places.items() if place.role}
    images: Files = {}
    masks: Files = {}
    apart = any(place.role == "annotation" for place in places.values())
    plain = {key for p in places.values() for key in (p.key, _without_suffix(p.key, _IMAGE_STEM))}
    for name, place in places.items():
        bare = _without_suffix(place.key, _MASK_STEM)
        beside = not apart and bare and bare in plain
        chosen = masks if place.role == "annotation" or beside else images
        chosen.setdefault(place.key, []).append(name)
    return images, masks, {n: places[n].split for some in images.values() for n in some}


def _match(images: Files, masks: Files) -> dict[str, list[str]]:
    """Return the masks of each image, by its name without or with the suffixes of both.

    What is left is matched without its last folder: `CameraRGB/1.png` and `CameraSeg/1.png`.
    """
    bare = {_without_suffix(key, _IMAGE_STEM) or key: key for key in images}
    found: Files = {}
    left: Files = {}
    for key, some in masks.items():
        plain = _without_suffix(key, _MASK_STEM) or key
        owners = [k for k in (key, plain, bare.get(plain), bare.get(key)) if k in images]
        (found if owners else left).setdefault(owners[0] if owners else key, []).extend(some)
    by_parent = _by_parent(left)
    for parent, lacking in _by_parent(images.keys() - found.keys()).items():
        if len(lacking) == len(by_parent.get(parent, ())) == 1:
            found[lacking[0]] = left[by_parent[parent][0]]
    return {image: found.get(key, []) for key, some in images.items() for image in some}


def _by_parent(keys: Iterable[Key]) -> dict[Key, list[Key]]:
    """Return keys by the same keys without their last folder, unless it is a split."""
    found: dict[Key, list[Key]] = {}
    for key in keys:
        split = any(folder in SPLITS for folder in key[-2:-1])
        found.setdefault(key if split else key[:-2] + key[-1:], []).append(key)
    return found


def _best(masks: list[str]) -> list[str]:
    """Return the label images to choose from: those of a preferred kind, if there are any."""
    for kind in _PREFERRED:
        if preferred := [name for name in masks if kind in name]:
            return preferred
    return masks


def _only(names: Sequence[str], where: str) -> str:
    """Return the only name, or "".

    Raises:
        UserError: there are several.
    """
    if len(names) > 1:
        raise UserError(
            f"expected one file of a name in {where}, got {names[0]} and {names[1]}; "
            "try removing or renaming one of them, or a train.txt with 'IMAGE MASK' on each line"
        )
    return names[0] if names else ""


def _checked(splits: Mapping[str, list[Pair]], where: str) -> dict[str, list[Pair]]:
    kept = {}
    for split in SPLITS:
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


def _is_drawing(name: str) -> bool:
    """Return whether a file is neither image nor mask: instances, or colours."""
    *folders, file = name.split("/")
    return bool(_DRAWN_STEM.match(file)) or any(map(_NEITHER.fullmatch, folders))


def _without_suffix(key: Key, pattern: re.Pattern[str]) -> Key | None:
    match = pattern.fullmatch(key[-1])
    return (*key[:-1], match[1]) if match else None
