"""Find the column of a table that holds the splits of images, and read it.

| column                                                       | read as                         |
|--------------------------------------------------------------|---------------------------------|
| `split`                                                      | its names of splits             |
| under a heading such as `subset` or `usage`, or any heading  | the same, if all values are     |
| and two splits                                               | such names                      |
| `is_test`, `is_train`, ..: true or false                     | that split, or the other one    |
"""

import logging
import re
from collections.abc import Collection, Sequence

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.csv_rows import Row
from imgrec_jax.data.layout.split_names import split_in, split_of

_HEADINGS = {"subset", "partition", "usage", "set", "data set", "data_set", "dataset", "phase"}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_MOST_VALUES = 20  # different ones that a column of splits may have
_IS = re.compile(r"^(?:is|in|for)(?:[ _-]|(?=[A-Z]))")

_logger = logging.getLogger(__name__)


def read_splits(
    header: Sequence[str], rows: Sequence[Row], column: int, taken: Collection[int], where: str
) -> list[str] | None:
    """Return the split in each row, "" for none; None if no column holds splits.

    Args:
        header: the headings.
        rows: the other rows.
        column: the column of splits; -1 = look for one.
        taken: columns that hold something else.
        where: the file, for messages.

    Raises:
        UserError: a value of the `column` names no split.
    """
    if column >= 0:
        return [_named(_cell(row, column), f"{where} (line {row.line})") for row in rows]
    for number, heading in enumerate(header):
        cells = [_cell(row, number) for row in rows]
        splits = None if number in taken else _guess(heading, cells)
        if splits:
            _logger.warning("%s: splits are taken from the column '%s'", where, heading)
            return splits
    return None


def _cell(row: Row, column: int) -> str:
    return row.cells[column].strip() if column < len(row.cells) else ""


def _named(value: str, where: str) -> str:
    if value and not split_in(value):
        raise UserError(
            f"expected train, val or test as the split in {where}, got '{value}'; try one of "
            "them, or an empty cell to leave the image out"
        )
    return split_in(value)


def _guess(heading: str, cells: Sequence[str]) -> list[str] | None:
    """Return the splits that cells hold, if they do."""
    values = set(cells) - {""}
    if not 0 < len(values) <= _MOST_VALUES:
        return None
    splits = {value: split_in(value) for value in values}
    different = set(splits.values())
    if "" not in different and (heading.lower() in _HEADINGS or len(different) > 1):
        return [splits.get(cell, "") for cell in cells]
    flagged = split_of(_IS.sub("", heading))
    flags = [_FLAGS.get(cell.lower()) for cell in cells]
    if flagged and None not in flags:
        other = "test" if flagged == "train" else "train"
        return [flagged if flag else other for flag in flags]
    return None
