"""Parse CSV text into rows with line numbers, without limits on the length of a cell."""

import csv
import io
from typing import NamedTuple

from imgrec_jax.core.errors import UserError


class Row(NamedTuple):
    """The cells of a row, stripped, and the line of the file in which it begins, from 1."""

    cells: list[str]
    line: int


def parse_csv(text: str, where: str) -> list[Row]:
    """Return the rows with content; their cells are divided by commas, semicolons or tabs.

    Raises:
        UserError: a quote is not closed, or is closed in the middle of a cell.
    """
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row([cell.strip() for cell in cells], line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"expected closed quotes in {where}, got one that opens in line {line} and does not "
            f"close before a '{delimiter}' or the end of a line; try removing it, or doubling a "
            "quote inside a quoted cell"
        ) from error
    return rows
