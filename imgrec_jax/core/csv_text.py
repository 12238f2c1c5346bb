"""Write rows as CSV that is safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from imgrec_jax.core.printable import printable

_FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20]")  # the last four: full-width forms
_NUMBER = re.compile(
    r"[+-]?\d[\d.]*(e[+-]?\d+)?( \[[+-]?[\d.]+, [+-]?[\d.]+\])?( \(n = \d+\))?|[+-]?(nan|inf)"
)


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV.

    Cells that begin like a formula but are no number get a "'" in front, which spreadsheets hide
    (OWASP, "CSV Injection"); control characters are escaped.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def _safe(cell: str) -> str:
    cell = printable(cell)
    formula = _FORMULA.match(cell.lstrip()) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if formula else cell
