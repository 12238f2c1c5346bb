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
from imgrec_jax.data.layout.split_names import SPLITS, splits_among

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
        label_names: the class names of all splits: sorted, in numeric order if all are decimal
            numbers.
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
    split's (or below the top if all is "train"); folders below it are part of the class. The
    folders of splits may also be inside those of the classes. Images of val or test outside class
    folders are left out: they have no label, and can only be predicted.

    Args:
        files: a listing, or names relative to their root, by the split of the root; "" if the
            names contain the split, or if there are no splits.
        where: the data set's path, for messages.
        correct_place: overrides the folders; images without a split or class are then left out.

    Raises:
        UserError: no images, or an ambiguous layout.
    """
    listings = {
        split: found if isinstance(found, Listing) else listing_of(found)
        for split, found in files.items()
    }
    found: list[tuple[Place, Names]] = []
    for root_split, listing in listings.items():
        found += _by_folder(root_split, listing, where, strict=correct_place is None)
    if not found:
        others = sum(len(listing.others) for listing in listings.values())
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
    return _number(sorted_in)


def _by_folder(
    root_split: str, listing: Listing, where: str, *, strict: bool
) -> list[tuple[Place, Names]]:
    """Return the images of each folder with the split and class given by its name."""
    found = list(listing.parts())
    parts = [folder.split("/") if folder else [] for folder, _ in found]
    if (
        not _splits_at(parts, 0)
        and len({tuple(p[:1]) for p in parts}) == 1
        and all(len(p) > 1 for p in parts)
    ):  # one folder contains everything
        parts = [rest[1:] for rest in parts]
    places = _places(parts, root_split, where, strict=strict)
    return [(place, names) for place, (_, names) in zip(places, found, strict=True)]


def _places(parts: list[list[str]], root_split: str, where: str, *, strict: bool) -> list[Place]:
    """Return the split and class of each folder, given by its parts."""
    for depth in (0, 1):  # of the splits: above the classes, or below them
        if splits := _splits_at(parts, depth):
            _check_splits(splits, root_split, where)
            others = [_without(rest, depth) for rest in parts]
            return [
                Place(splits[rest[depth]] if rest else "", other[0] if other else "")
                for rest, other in zip(parts, others, strict=True)
            ]
    if not root_split and strict:
        _refuse_mixture([rest[0] for rest in parts if rest], where)
        _refuse_mixture([rest[1] for rest in parts if len(rest) > 1], where)
    tops = splits_among({rest[0] for rest in parts if rest})
    named = [tops.get(rest[0], "") if rest and not root_split else "" for rest in parts]
    return [
        Place(split or root_split or "train", rest[0] if rest else "")
        for split, rest in zip(named, parts, strict=True)
    ]


def _without(parts: list[str], depth: int) -> list[str]:
    """Return the parts without that of the split, and without a folder of its name in it."""
    rest = parts[:depth] + parts[depth + 1 :]
    twice = depth < len(rest) and rest[depth] == parts[depth]
    return rest[:depth] + rest[depth + 1 :] if twice else rest


def _splits_at(parts: list[list[str]], depth: int) -> dict[str, str]:
    """Return the splits of the folders at a depth; {} if one is no split's, or for one split below.

    Images at the top count neither way.
    """
    deep = [rest for rest in parts if rest]
    if not deep or any(len(rest) <= depth for rest in deep):
        return {}
    folders = {rest[depth] for rest in deep}
    splits = splits_among(folders)
    if len(splits) < len(folders) or (depth and len(set(splits.values())) < 2):
        return {}
    return splits


def _without_unlabelled(found: list[tuple[Place, Names]], where: str) -> list[tuple[Place, Names]]:
    labelled = {place.split for place, _ in found if place.label}
    left_out = 0
    for place, names in found:
        if not place.label:
            if place.split in ("", "train") or place.split in labelled:
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


def _check_splits(splits: Mapping[str, str], root_split: str, where: str) -> None:
    """Raise an error if the folders of splits contradict their archive or each other."""
    if root_split and set(splits.values()) - {root_split}:
        raise UserError(
            f"expected {root_split} images in the {root_split} archive of {where}, got the "
            f"folders {', '.join(sorted(splits))}; try naming the archive by what it holds"
        )
    if len(set(splits.values())) < len(splits):
        raise UserError(
            f"expected one folder per split in {where}, got {', '.join(sorted(splits))}; "
            "try joining or renaming those that mean the same"
        )


def _refuse_mixture(folders: list[str], where: str) -> None:
    named = sorted(splits_among(set(folders)))
    others = sorted(set(folders).difference(named))
    if named and others:
        raise UserError(
            f"expected either split folders (train, val, test) or class folders in {where}, got "
            f"'{named[0]}' beside '{readable(others[0])}'; try moving all class folders into a "
            "folder 'train'"
        )


def _number(sorted_in: dict[str, dict[str, list[Names]]]) -> Layout:
    classes = sorted_classes({name for by_class in sorted_in.values() for name in by_class})
    names, labels = {}, {}
    for split in SPLITS:
        if by_class := sorted_in.get(split):
            groups = [Names.joined(by_class.get(name, [])) for name in classes]
            names[split] = Names.joined(groups)
            counts = [len(group) for group in groups]
            labels[split] = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    return Layout(names, labels, tuple(classes))
