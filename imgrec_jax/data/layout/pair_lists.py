"""Read lists of images and their annotations: `train.txt`, or those of Pascal VOC.

A line is "IMAGE ANNOTATION", or the path or the stem of an image; names may have spaces.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.split_names import SPLITS, split_of, without_overlaps

_GAP = re.compile(r"\s*[\s,;]\s*")


def list_names(names: Sequence[str], voc_folder: str) -> dict[str, str]:
    """Return the list file of each split: `train.txt` at the top or one folder below, or VOC's.

    Those in `voc_folder` ("ImageSets/Main/") have priority. A list of train and val together is
    only taken if there is none of train.
    """
    texts = [name for name in names if name.lower().endswith(".txt") and split_of(_stem(name))]
    voc = [name for name in texts if f"/{voc_folder}" in f"/{name}"]
    chosen = voc or [name for name in texts if name.count("/") <= 1]
    found: dict[str, str] = {}
    named = {name: split_of(_stem(name)) for name in sorted(chosen)}
    for name, split in without_overlaps(named, _stem).items():
        found.setdefault(split, name)
    return {split: found[split] for split in SPLITS if split in found}


def read_pairs(
    text: str, name: str, split: str, finder: "Finder"
) -> Iterator[tuple[str, list[str]]]:
    """Yield the file and its partners that each line of a list names; see `Finder`.

    Raises:
        UserError: a file is missing, or its name is ambiguous.
    """
    for line in text.splitlines():
        if entry := line.strip():
            yield finder.find(entry, name, split)


def names_nothing(text: str, name: str, split: str, finder: "Finder") -> bool:
    """Return whether all lines of a list name missing files."""
    for line in text.splitlines():
        with contextlib.suppress(UserError):
            if entry := line.strip():
                finder.find(entry, name, split)
                return False
    return True


class Finder:
    """Find the files that the lines of lists name."""

    def __init__(
        self,
        partners: Mapping[str, list[str]],
        splits: Mapping[str, str],
        names: Sequence[str],
        where: str,
    ) -> None:
        """Index the files.

        Args:
            partners: of each file that a stem may mean, such as the masks of each image.
            splits: the split of each of these by its folders.
            names: all files.
            where: the data set, for messages.
        """
        self._partners, self._splits, self._names, self._where = partners, splits, set(names), where
        self._by_stem: dict[str, list[str]] = {}
        for image in sorted(partners):
            self._by_stem.setdefault(_stem(image), []).append(image)

    def find(self, entry: str, listed_in: str, split: str) -> tuple[str, list[str]]:
        """Return the file that a line names, and its partners, which the line may name too.

        Raises:
            UserError: a file is missing, or its name is ambiguous.
        """
        gaps = list(_GAP.finditer(entry))
        if (image := self._file(entry, listed_in)) in self._partners:
            return image, self._partners[image]
        for gap in gaps:
            halves = entry[: gap.start()], entry[gap.end() :]
            image, partner = (self._file(half, listed_in) for half in halves)
            if image and partner:
                return image, [partner]
            if image and PurePosixPath(halves[1]).suffix:
                raise self._missing(halves[1], listed_in)
        for end in (len(entry), *(gap.start() for gap in reversed(gaps))):  # further columns
            if image := self._stem(entry[:end], listed_in, split):
                return image, self._partners[image]
        raise self._missing(entry[: gaps[0].start()] if gaps else entry, listed_in)

    def _stem(self, entry: str, listed_in: str, split: str) -> str:
        """Return the file with a stem or an end of its path, or ""."""
        path = PurePosixPath(entry.replace("\\", "/"))
        same = self._by_stem.get(path.name) or self._by_stem.get(path.stem, [])
        for closer in (
            [image for image in same if f"/{image}".endswith(f"/{path}")],
            [image for image in same if f"/{image}".rpartition(".")[0].endswith(f"/{path}")],
            [image for image in same if self._splits[image] == split],
        ):
            same = closer if len(same) > 1 and closer else same
        if len(same) > 1:
            raise UserError(
                f"expected '{entry}' in {listed_in} of {self._where} to name one image, got "
                f"{same[0]} and {same[1]}; try its path"
            )
        return same[0] if same else ""

    def _file(self, entry: str, listed_in: str) -> str:
        """Return the file at a path relative to the list or to any folder above both, or ""."""
        parts = entry.replace("\\", "/").strip("/").split("/")
        folders = ["", *(f"{folder}/" for folder in _above(listed_in))]
        for first in range(len(parts)):
            tail = "/".join(parts[first:])
            for folder in folders:
                if folder + tail in self._names:
                    return folder + tail
        return ""

    def _missing(self, entry: str, listed_in: str) -> UserError:
        return UserError(
            f"expected the file '{entry}' that {listed_in} of {self._where} lists, got none; "
            "try restoring it or removing the line"
        )


def _above(name: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(name).parents if str(parent) != "."]


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
