"""Which split and class a picture belongs to, told by its name: `train/cat/1.jpg`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.archive import readable, readable_all
from imgrec_jax.data.decode import SUFFIXES

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""The folders (in lower case) that are splits, and what the splits are called here."""


@dataclass(frozen=True)
class Layout:
    """A classified list of pictures.

    Attributes:
        names: by split ("train" first), the pictures' names, sorted by class and then by name.
        labels: by split, int32[n], the class of each.
        label_names: the class names: sorted, in numeric order if all are decimal numbers.
    """

    names: dict[str, tuple[str, ...]]
    labels: dict[str, np.ndarray]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.names.values()))


def is_picture(name: str) -> bool:
    """Whether a name is a picture's: no hidden file, no leftover of a Mac or of Windows."""
    parts = name.split("/")
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return False
    stem, dot, suffix = parts[-1].rpartition(".")
    return bool(stem) and (dot + suffix).lower() in SUFFIXES


def arrange(files: Mapping[str, Collection[str]], where: str) -> Layout:
    """Sort file names into splits and classes.

    Args:
        files: names relative to their root, by the split that their root stands for; "" if the
            split is told by the names, or if there are none (then all is "train").
        where: the data set's path, for messages.

    A top folder that wraps all else is passed over; what is no picture is ignored; folders below
    the class folder are part of the class. A class that lacks pictures in "train" is an error,
    in the other splits it is not.

    Raises:
        UserError: no pictures, fewer than two classes, or no telling what is what.
    """
    ignored = 0
    found: list[tuple[str, str, str]] = []
    for root_split, names in files.items():
        pictures = sorted(set(filter(is_picture, names)))
        ignored += len(names) - len(pictures)
        for name, split, rest in _split_names(root_split, pictures, where):
            if len(rest) < 2:
                raise UserError(
                    f"expected class folders of pictures in {where}, got the picture "
                    f"'{readable(name)}' in none; try CLASS/PICTURE or train/CLASS/PICTURE"
                )
            found.append((split, rest[0], name))
    if not found:
        raise UserError(
            f"expected class folders of pictures ({' '.join(SUFFIXES)}) in {where}, got "
            f"no picture and {ignored} other files; try another path"
        )
    label_names = readable_all({folder for _, folder, _ in found})
    sorted_in: dict[str, dict[str, list[str]]] = {}
    for split, folder, name in found:
        sorted_in.setdefault(split, {}).setdefault(label_names[folder], []).append(name)
    return _number(sorted_in, where)


def _split_names(root_split: str, names: list[str], where: str) -> list[tuple[str, str, list[str]]]:
    """Return (name, split, parts of the name below the split's folder) of each."""
    parts = [name.split("/") for name in names]
    if not _under_splits(parts) and _one_folder_wraps(parts):
        parts = [rest[1:] for rest in parts]
    if _under_splits(parts):
        splits = _read_splits([rest[0] for rest in parts], root_split, where)
        parts = [rest[1:] for rest in parts]
    else:
        if not root_split:
            _refuse_mixture([rest[0] for rest in parts], where)
        splits = [root_split or "train"] * len(parts)
    return list(zip(names, splits, parts, strict=True))


def _under_splits(parts: list[list[str]]) -> bool:
    return all(len(rest) > 1 and rest[0].lower() in SPLITS for rest in parts)


def _one_folder_wraps(parts: list[list[str]]) -> bool:
    return len({top for top, *_ in parts}) == 1 and all(len(rest) > 2 for rest in parts)


def _read_splits(folders: list[str], root_split: str, where: str) -> list[str]:
    splits = {folder: SPLITS[folder.lower()] for folder in sorted(set(folders))}
    if root_split and set(splits.values()) - {root_split}:
        raise UserError(
            f"expected {root_split} pictures in the {root_split} archive of {where}, got the "
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


def _number(sorted_in: dict[str, dict[str, list[str]]], where: str) -> Layout:
    if "train" not in sorted_in:
        raise UserError(
            f"expected training pictures under 'train' in {where}, got only "
            f"{', '.join(sorted(sorted_in))}; try another path"
        )
    classes = list(sorted_in["train"])
    for split, by_class in sorted_in.items():
        for name in by_class:
            if name not in classes:
                raise UserError(
                    f"expected the classes of 'train' in '{split}' of {where}, got the class "
                    f"'{name}', which has no training picture; try removing or renaming it"
                )
    if len(classes) < 2:
        raise UserError(
            f"expected at least two class folders in {where}, got only '{classes[0]}'; "
            "try adding another, or another path"
        )
    numeric = all(name.isdecimal() for name in classes)
    classes.sort(key=lambda name: (int(name) if numeric else 0, name))
    names, labels = {}, {}
    for split in dict.fromkeys(SPLITS.values()):
        if by_class := sorted_in.get(split):
            groups = [by_class.get(name, []) for name in classes]
            names[split] = tuple(name for group in groups for name in group)
            counts = [len(group) for group in groups]
            labels[split] = np.repeat(np.arange(len(classes), dtype=np.int32), counts)
    return Layout(names, labels, tuple(classes))
