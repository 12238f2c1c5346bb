"""Assign images to splits and classes by folder (`train/cat/1.jpg`) or by table."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.archive import readable, readable_all
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.files.suffixes import SUFFIXES
from imgrec_jax.data.layout.labels import sorted_classes
from imgrec_jax.data.layout.listing import Listing, listing_of

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Folder names of splits (in lower case), and our names of the splits."""

_logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """The split and class of an image; "" if unknown."""

    split: str
    label: str


CorrectPlace = Callable[[str, Place], Place]
"""Corrects the place of an image (given its name) by its folder."""


@dataclass(frozen=True)
class Layout:
    """Images sorted into splits and classes.

    Attributes:
        names: by split ("train" first), the images' names, sorted by class, folder and name.
        labels: by split, int32[n], the class of each.
        label_names: the class names: sorted, in numeric order if all are decimal numbers.
    """

    names: dict[str, Names]
    labels: dict[str, np.ndarray]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.names.values()))


def arrange(
    files: Mapping[str, Listing | Collection[str]],
    where: str,
    correct_place: CorrectPlace | None = None,
) -> Layout:
    """Sort images into splits and classes.

    A single top folder around everything is skipped. The class is the first folder below the
    split's (or below the top if all is "train"); folders below it are part of the class. A class
    without images in "train" is an error; in the other splits it is not. Images of val or test
    outside class folders are left out: they have no label, and can only be predicted.

    Args:
        files: a listing, or names relative to their root, by the split of the root; "" if the
            names contain the split, or if there are no splits.
        where: the data set's path, for messages.
        correct_place: overrides the folders; images without a split or class are then left out.

    Raises:
        UserError: no images, fewer than two classes, or an ambiguous layout.
    """
    listings = {
        split: found if isinstance(found, Listing) else listing_of(found)
        for split, found in files.items()
    }
    found: list[tuple[Place, Names]] = []
    for root_split, listing in listings.items():
        found += _by_folder(root_split, listing, where, strict=correct_place is None)
    if not found:
        others = sum(listing.others for listing in listings.values())
        raise UserError(
            f"expected class folders of images ({' '.join(SUFFIXES)}) in {where}, got "
            f"no image and {others} other files; try another path"
        )
    label_names = readable_all({place.label for place, _ in found})
    found = [(place._replace(label=label_names[place.label]), names) for place, names in found]
    found = (
        _without_unlabelled(found, where)
        if correct_place is None
        else _corrected(found, correct_place, where)
    )
    sorted_in: dict[str, dict[str, list[Names]]] = {}
    for place, names in found:
        sorted_in.setdefault(place.split, {}).setdefault(place.label, []).append(names)
    return _number(sorted_in, where)


def _by_folder(
    root_split: str, listing: Listing, where: str, *, strict: bool
) -> list[tuple[Place, Names]]:
    """Return the images of each folder with the split and class given by its name."""
    found = list(listing.parts())
    parts = [folder.split("/") if folder else [] for folder, _ in found]
    if (
        not _under_splits(parts)
        and len({tuple(p[:1]) for p in parts}) == 1
        and all(len(p) > 1 for p in parts)
    ):  # one folder contains everything
        parts = [rest[1:] for rest in parts]
    if _under_splits(parts):
        splits = _read_splits([rest[0] for rest in parts], root_split, where)
        parts = [rest[1:] for rest in parts]
    else:
        if not root_split and strict:
            _refuse_mixture([rest[0] for rest in parts if rest], where)
        splits = [root_split or "train"] * len(parts)
    return [
        (Place(split, rest[0] if rest else ""), names)
        for split, rest, (_, names) in zip(splits, parts, found, strict=True)
    ]


def _under_splits(parts: list[list[str]]) -> bool:
    return all(rest and rest[0].lower() in SPLITS for rest in parts)


def _without_unlabelled(found: list[tuple[Place, Names]], where: str) -> list[tuple[Place, Names]]:
    labelled = {place.split for place, _ in found if place.label}
    left_out = 0
    for place, names in found:
        if not place.label:
            if place.split == "train" or place.split in labelled:
                raise UserError(
                    f"expected class folders of images in {where}, got the image "
                    f"'{readable(names[0])}' in none; try CLASS/IMAGE or train/CLASS/IMAGE, "
                    "a labels.csv, or --config.data.label_pattern"
                )
            left_out += len(names)
    if left_out:
        _logger.warning("%s: %d images without a label are left for predict", where, left_out)
    return [(place, names) for place, names in found if place.label]


def _corrected(
    found: list[tuple[Place, Names]], correct_place: CorrectPlace, where: str
) -> list[tuple[Place, Names]]:
    """Apply `correct_place` to each image."""
    by_place: dict[Place, list[str]] = {}
    for folder_place, names in found:
        for name in names:
            by_place.setdefault(correct_place(name, folder_place), []).append(name)
    left_out = sum(len(names) for place, names in by_place.items() if not all(place))
    if left_out == sum(map(len, by_place.values())):
        raise UserError(
            f"expected a label for some image in {where}, got none for all {left_out}; "
            "try --config.data.label_pattern, or another labels.csv"
        )
    if left_out:
        _logger.warning("%s: %d images without a split or a label are left out", where, left_out)
    return [(place, Names.of(names)) for place, names in by_place.items() if all(place)]


def _read_splits(folders: list[str], root_split: str, where: str) -> list[str]:
    splits = {folder: SPLITS[folder.lower()] for folder in sorted(set(folders))}
    if root_split and set(splits.values()) - {root_split}:
        raise UserError(
            f"expected {root_split} images in the {root_split} archive of {where}, got the "
            f"folders {', '.join(splits)}; try naming the archive by what it holds"
        )
    if len(set(splits.values())) < len(splits):
        raise UserError(
            f"expected one folder per split in {where}, got {', '.join(splits)}; "
            "try joining or renaming those that mean the same"
        )
    return [splits[folder] for folder in folders]


def _refuse_mixture(folders: list[str], where: str) -> None:
    named = sorted({folder for folder in folders if folder.lower() in SPLITS})
    others = sorted(set(folders).difference(named))
    if named and others:
        raise UserError(
            f"expected either split folders (train, val, test) or class folders in {where}, got "
            f"'{named[0]}' beside '{readable(others[0])}'; try moving all class folders into a "
            "folder 'train'"
        )


def _number(sorted_in: dict[str, dict[str, list[Names]]], where: str) -> Layout:
    if "train" not in sorted_in:
        raise UserError(
            f"expected training images under 'train' in {where}, got only "
            f"{', '.join(sorted(sorted_in))}; try another path"
        )
    classes = list(sorted_in["train"])
    for split, by_class in sorted_in.items():
        for name in by_class:
            if name not in classes:
                raise UserError(
                    f"expected the classes of 'train' in '{split}' of {where}, got the class "
                    f"'{name}', which has no training image; try removing or renaming it"
                )
    if len(classes) < 2:
        raise UserError(
            f"expected at least two class folders in {where}, got only '{classes[0]}'; "
            "try adding another, or another path"
        )
    classes = sorted_classes(classes)
    names, labels = {}, {}
    for split in dict.fromkeys(SPLITS.values()):
        if by_class := sorted_in.get(split):
            groups = [Names.joined(by_class.get(name, [])) for name in classes]
            names[split] = Names.joined(groups)
            counts = [len(group) for group in groups]
            labels[split] = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    return Layout(names, labels, tuple(classes))
