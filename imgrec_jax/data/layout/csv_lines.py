"""Read the lines of tables that name images: CSV files and plain lists."""

import csv
import logging
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imgrec_jax.core.errors import UsageError, UserError, did_you_mean
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.splits_and_classes import SPLITS

_IMAGE_COLUMNS = (
    *("image", "file_name", "filename", "file", "path", "image_path", "filepath", "img"),
    *("image_name", "name", "image_id", "id"),
)
_LABEL_COLUMNS = ("label", "class", "category", "target", "labels", "class_name", "class_id")
_SPLIT_COLUMN = "split"

_logger = logging.getLogger(__name__)


class Line(NamedTuple):
    """One line of a table: its fields, and its name for messages."""

    image: str
    split: str
    label: str
    group: str
    where: str


def decode_text(data: bytes, where: str) -> str:
    """Decode a text in UTF-8 or GBK.

    Raises:
        UserError: it is in neither encoding.
    """
    for encoding in ("utf-8-sig", "gbk"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(f"expected text in UTF-8, got other bytes in {where}; try saving it as UTF-8")


def read_list(text: str, split: str, where: str, is_name: Callable[[str], bool]) -> Iterator[Line]:
    """Yield the lines of a list; a line for which `is_name` is true has no label after the name."""
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        label = ""
        divided = re.fullmatch(r"(.+?)[\s,]+([^\s,]+)", entry)
        if divided and not is_name(entry):
            entry, label = divided.groups()
        yield Line(entry, split, label, "", f"{where} (line {number})")


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
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
    if not rows:
        raise UserError(f"expected lines in {where}, got an empty file; try removing it")
    header = [cell.strip() for cell in rows[0]]
    chosen = _choose_columns(header, where, columns, labelled=split in ("", "train"))
    has_header = chosen is not None
    image, label, split_column = chosen or (0, 1, -1)
    group = header.index(group_by) if has_header and group_by in header else -1

    def lines() -> Iterator[Line]:
        for number, row in enumerate(rows[has_header:], 1 + has_header):
            if not any(cell.strip() for cell in row):
                continue
            cells = dict(enumerate(cell.strip() for cell in row))
            line_split = split
            if split_column in cells:
                line_split = SPLITS.get(cells[split_column].lower(), "")
            yield Line(
                cells.get(image, ""), line_split, cells.get(label, ""), cells.get(group, ""),
                f"{where} (line {number})",
            )  # fmt: skip

    return lines(), group >= 0


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
