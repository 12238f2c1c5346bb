"""Read tables at the top of a data set: `labels.csv`, `train.txt`, `test.csv`.

| file                                      | contents                                          |
|-------------------------------------------|---------------------------------------------------|
| `labels.csv`, `metadata.csv`, at the top  | the label of each image, possibly its split       |
| or in a split's folder; or the only CSV   |                                                   |
| of images outside class folders           |                                                   |
| `train.csv`, `val.csv`, `test.csv`        | the images of this split, and labels              |
| `train.txt`, `val.txt`, `test.txt`        | the same; a line is `PATH`, or `PATH LABEL` with  |
|                                           | a space, tab or comma between                     |

An image is named by its path in the data set, or by a unique end of the path, with or without
`.jpg`. The labels of a column are read as in `labels`.
"""

import difflib
import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.archive import readable_all
from imgrec_jax.data.layout.csv_lines import Line, read_csv, read_list
from imgrec_jax.data.layout.listing import Listing, is_image
from imgrec_jax.data.layout.split_names import split_of, without_overlaps
from imgrec_jax.data.layout.splits_and_classes import Place

_COMPARED = 10_000  # images with which a name that is not there is compared
_FOR_ALL = {("labels", "csv"), ("metadata", "csv")}  # the second is the Hugging Face hub's name


class TableEntry(NamedTuple):
    """The entry of a table for an image; "" for missing fields."""

    split: str
    label: str
    group: str


@dataclass(frozen=True)
class Tables:
    """The entries of all tables.

    Attributes:
        entries: entries by the name of the image.
        has_splits: whether they name splits; images without one are then left out.
        has_labels: whether they name labels; images without one then have no label.
        has_groups: whether a column has the name `group_by`.
    """

    entries: Mapping[str, TableEntry]
    has_splits: bool
    has_labels: bool
    has_groups: bool

    def place(self, name: str, by_folder: Place) -> Place:
        """Return the split and class of an image; see `splits_and_classes.CorrectPlace`."""
        split, label, _ = self.entries.get(name, ("", "", ""))
        return Place(
            split if self.has_splits else by_folder.split,
            label if self.has_labels else by_folder.label,
        )


def choose_tables(listing: Listing) -> dict[str, str]:
    """Return the tables to read, each with the split in its name, or "".

    A list of train and val together is only read if there is none of train, and then none of val.
    """
    for depth in (0, 1):
        chosen = {}
        for name in listing.tables:
            folder, _, file = name.rpartition("/")
            stem, _, suffix = file.rpartition(".")
            for_all = (stem.lower(), suffix.lower()) in _FOR_ALL
            if name.count("/") == depth and (split_of(stem) or for_all):
                chosen[name] = split_of(stem) or split_of(folder)
        if chosen:
            return without_overlaps(chosen, _file_stem)
    top = [name for name in listing.tables if "/" not in name and name.lower().endswith(".csv")]
    folders = {folder for folder, _ in listing.parts() if not split_of(folder)}
    return {top[0]: ""} if len(top) == 1 and len(folders) <= 1 else {}


def _file_stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def read_tables(
    texts: Mapping[str, tuple[str, bytes]],
    names: Sequence[str],
    where: str,
    *,
    columns: str = "",
    group_by: str = "",
) -> Tables:
    """Return the entries of tables for the images with these names.

    Args:
        texts: by name, the split in the name ("" for none) and the contents.
        names: all images.
        where: the data set's path, for messages.
        columns: "IMAGE,LABEL" or "IMAGE,LABEL,SPLIT", the headings; empty = guessed.
        group_by: possibly the heading of a column.

    Raises:
        UserError: a table cannot be parsed, names a missing image, or contradicts another.
        UsageError: there are no such columns.
    """
    finder = _Finder(names)
    entries: dict[str, TableEntry] = {}
    missing: list[Line] = []
    count = 0
    has_groups = False
    for table, (split, data) in texts.items():
        text = decode_text(data, f"{where}/{table}")
        if table.lower().endswith(".csv"):
            lines, grouped = read_csv(text, split, f"{where}/{table}", columns, group_by)
            has_groups |= grouped
        else:
            lines = read_list(text, split, f"{where}/{table}", finder.knows)
        for line in lines:
            count += 1
            name = finder.find(line.image, line)
            if name is None:
                missing.append(line)
            else:
                entries[name] = _combine(entries.get(name), line)
    if missing:
        raise _missing_images(missing, count, finder, where)
    return Tables(
        entries=entries,
        has_splits=any(entry.split for entry in entries.values()),
        has_labels=any(entry.label for entry in entries.values()),
        has_groups=has_groups,
    )


def _missing_images(
    missing: Sequence[Line], count: int, finder: "_Finder", where: str
) -> UserError:
    """Return the error for lines that name no image: about the table if most of them do."""
    first = missing[0]
    hint = "removing its line"
    if 2 * len(missing) > count:
        near = finder.nearest(first.image)
        hint = (
            f"'{near}' for '{first.image}', and the same change in all lines"
            if near
            else "--config.data.columns=IMAGE,LABEL, if another column names the images"
        )
    return UserError(
        f"expected every image of a table in {where}, got {len(missing)} of {count} that are not "
        f"there, the first '{first.image}' in {first.where}; try {hint}"
    )


class _Finder:
    """Find images by their full names, or by a unique end of the name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_shown = {shown: name for name, shown in readable_all(names).items()}
        self._by_stem: dict[str, list[str]] = {}

    def find(self, entry: str, line: Line | None = None) -> str | None:
        """Return the name of an entry's image, or None; the split of `line` resolves ambiguity.

        Raises:
            UserError: with a `line`, the entry is still ambiguous.
        """
        entry = unicodedata.normalize("NFC", entry.strip().replace("\\", "/")).removeprefix("./")
        if entry in self._by_shown:
            return self._by_shown[entry]
        self._by_stem = self._by_stem or self._index()
        suffix = "/" + _stem(entry)
        same = [
            shown
            for shown in self._by_stem.get(suffix.rpartition("/")[2], [])
            if f"/{_stem(shown)}".endswith(suffix)
            and (_stem(entry) == entry or shown.lower().endswith(entry.lower()))
        ]
        if line and len(same) > 1:
            in_split = [s for s in same if split_of(s.partition("/")[0]) == line.split]
            same = in_split or same
        if line and len(same) > 1:
            raise UserError(
                f"expected '{entry}' in {line.where} to name one image, got '{same[0]}' and "
                f"'{same[1]}'; try more of its path"
            )
        return self._by_shown[same[0]] if same else None

    def knows(self, entry: str) -> bool:
        """Return whether this is the name of an image."""
        return self.find(entry) is not None

    def nearest(self, entry: str) -> str:
        """Return the image whose name without folders is most like that of an entry, or ""."""
        self._by_stem = self._by_stem or self._index()
        stem = _stem(entry.strip().replace("\\", "/")).rpartition("/")[2]
        same = [stem, *(s for s in self._by_stem if s.lstrip("0") == stem.lstrip("0"))]
        close = difflib.get_close_matches(stem, itertools.islice(self._by_stem, _COMPARED), n=1)
        return next((self._by_stem[s][0] for s in (*same, *close) if s in self._by_stem), "")

    def _index(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for shown in self._by_shown:
            by_stem.setdefault(_stem(shown).rpartition("/")[2], []).append(shown)
        return by_stem


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if is_image(name.rpartition("/")[2]) else name


def _combine(before: TableEntry | None, line: Line) -> TableEntry:
    """Combine the lines for one image."""
    entry = TableEntry(line.split, line.label, line.group)
    if before is None:
        return entry
    for old, new, what in zip(before, entry, ("split", "label", "group"), strict=True):
        if old and new and old != new:
            raise UserError(
                f"expected one {what} for '{line.image}', got '{old}' and '{new}' in "
                f"{line.where}; try removing one of the two"
            )
    return TableEntry(*(new or old for old, new in zip(before, entry, strict=True)))
