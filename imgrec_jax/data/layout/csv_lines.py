"""Read the lines of tables that name images: CSV files and plain lists."""

import logging
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imgrec_jax.core.errors import UsageError, UserError, did_you_mean
from imgrec_jax.data.files.suffixes import SUFFIXES
from imgrec_jax.data.layout.csv_rows import Row, parse_csv
from imgrec_jax.data.layout.labels import plain_texts
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.split_columns import read_splits

_IMAGE_COLUMNS = (
    *("image", "file_name", "filename", "file", "path", "image_path", "filepath", "img"),
    *("image_name", "name", "image_id", "id"),
)
_LABEL_COLUMNS = ("label", "class", "category", "target", "labels", "class_name", "class_id")
_SPLIT_COLUMN = "split"
_SEPARATOR = re.compile(r"\s*[\s,;]\s*")
_FILE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, SUFFIXES))}))[\s,;]+(.+)", re.IGNORECASE)

_logger = logging.getLogger(__name__)


class Line(NamedTuple):
    """One line of a table: its fields, and its name for messages."""

    image: str
    split: str
    label: str
    group: str
    where: str


def read_list(text: str, split: str, where: str, is_name: Callable[[str], bool]) -> Iterator[Line]:
    """Yield the lines of a list: an image and possibly its label, where both may have spaces.

    The name ends with the suffix of an image, or else is the longest that `is_name` accepts.
    """
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            name, label = _divide(entry, is_name)
            yield Line(name, split, label, "", f"{where} (line {number})")


def _divide(entry: str, is_name: Callable[[str], bool]) -> tuple[str, str]:
    """Return the name of the image on a line, and its label or ""."""
    if is_name(entry):
        return entry, ""
    if file := _FILE.fullmatch(entry):
        return file[1], file[2]
    for gap in reversed(list(_SEPARATOR.finditer(entry))):
        if is_name(entry[: gap.start()]):
            return entry[: gap.start()], entry[gap.end() :]
    unknown = re.fullmatch(r"(.+?)[\s,;]+([^\s,;]+)", entry)
    return (unknown[1], unknown[2]) if unknown else (entry, "")


def read_csv(
    text: str, split: str, where: str, columns: str, group_by: str
) -> tuple[Iterator[Line], bool]:
    """Return the lines of a CSV file, and whether it has the column `group_by`.

    Args:
        text: with commas, semicolons or tabs; headings may be missing if there are two columns.
        split: the split in the file's name, or "".
        where: the file, for messages.
        columns: the headings "IMAGE,LABEL" or "IMAGE,LABEL,SPLIT"; empty = guessed and reported.
        group_by: possibly the heading of a column.

    Raises:
        UserError: the file is empty, or its columns cannot be identified.
        UsageError: there are no such columns.
    """
    rows = parse_csv(text, where)
    if not rows:
        raise UserError(f"expected lines in {where}, got an empty file; try removing it")
    header = rows[0].cells
    chosen = _choose_columns(header, where, columns, labelled=split in ("", "train"))
    has_header = chosen is not None
    image, label, split_column = chosen or (0, 1, -1)
    group = header.index(group_by) if has_header and group_by in header else -1

    rows = rows[has_header:]
    looked_for = header if has_header and not columns else []
    splits = read_splits(looked_for, rows, split_column, {image, label, group}, where)
    labels = _labels(rows, label, where, header[label] if has_header and label >= 0 else "")

    def lines() -> Iterator[Line]:
        own = splits if splits is not None else [split] * len(rows)
        for row, line_label, line_split in zip(rows, labels, own, strict=True):
            cells = dict(enumerate(row.cells))
            place = f"{where} (line {row.line})"
            yield Line(cells.get(image, ""), line_split, line_label, cells.get(group, ""), place)

    return lines(), group >= 0


def _labels(rows: list[Row], column: int, where: str, heading: str) -> list[str]:
    """Return the label in each row; "" for none."""
    cells = [row.cells[column] if 0 <= column < len(row.cells) else "" for row in rows]
    named = f"column '{heading}'" if heading else f"column {column + 1}"

    def place(row: int) -> str:
        return f"{where} ({named}, line {rows[row].line})"

    for row, cell in enumerate(cells):
        if "\n" in cell or "\r" in cell:
            raise UserError(
                f"expected a label of one line, got a line break in a quoted cell of {place(row)}; "
                "try removing its quotes"
            )
    return plain_texts(cells, place)


def _choose_columns(
    header: list[str], where: str, columns: str, *, labelled: bool
) -> tuple[int, int, int] | None:
    """Return the indices of image, label and split (-1 for none); None if there are no headings."""
    if columns:
        headings = [name.strip() for name in columns.split(",")]
        for name in headings:
            if name not in header:
                hint = did_you_mean(name, header) or ";"
                raise UsageError(
                    f"expected the columns {columns} in {where}, got no '{name}'{hint} "
                    f"try --config.data.columns with two of: {', '.join(header)}"
                )
        positions = [header.index(name) for name in headings]
        return (*positions, *[-1] * 3)[:3]  # pyright: ignore[reportReturnType]
    if is_image(header[0].rpartition("/")[2]):
        return None
    lower = [name.lower() for name in header]
    image = next((lower.index(name) for name in _IMAGE_COLUMNS if name in lower), -1)
    label = next((lower.index(name) for name in _LABEL_COLUMNS if name in lower), -1)
    if len(header) == 2 and image >= 0 and label < 0 and labelled:
        label = 1 - image  # under any name
    if image < 0 or (label < 0 and labelled):
        raise UserError(
            f"expected a column of images and one of labels in {where}, got {', '.join(header)}; "
            "try --config.data.columns=IMAGE,LABEL with the headings of both"
        )
    split = lower.index(_SPLIT_COLUMN) if _SPLIT_COLUMN in lower else -1
    _logger.warning(
        "%s: images are taken from the column '%s', labels from '%s'",
        where, header[image], header[label] if label >= 0 else "",
    )  # fmt: skip
    return image, label, split
