"""Format columns of text for a terminal."""

import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence

from imgrec_jax.core.printable import printable


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return rows as lines with aligned columns, two spaces apart.

    `align` holds "<" or ">" for each column. Chinese, Japanese and Korean characters count as
    two cells, as in terminals.
    """
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_pad, row, widths, align)).rstrip() for row in rows]


def listing(rows: Mapping[str, str], width: int = 0) -> list[str]:
    """Return one line per name with its value beside it.

    Values are wrapped between words to lines of `width` cells; 0 does not wrap.
    """
    rows = {printable(name): printable(value) for name, value in rows.items()}
    names = max(map(display_width, rows))
    lines: list[str] = []
    for name, value in rows.items():
        first, *rest = _wrap(value, width - names - 2) if width else [value]
        lines.append(f"{_pad(name, names, '>')}  {first}")
        lines += [" " * (names + 2) + line for line in rest]
    return lines


def terminal_width() -> int:
    """Return the width in columns of the output terminal; 0 if there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def shorten(text: str, width: int, mark: str = "..") -> str:
    """Return `text` cut to at most `width` cells, ending in `mark` if it was cut."""
    text = printable(text)
    if display_width(text) <= width:
        return text
    while text and display_width(text + mark) > width:
        text = text[:-1]
    return text + mark


def display_width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _wrap(text: str, width: int) -> list[str]:
    """Return lines of at most `width` cells; a longer word gets its own line."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if display_width(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _pad(text: str, width: int, side: str) -> str:
    blanks = " " * (width - display_width(text))
    return text + blanks if side == "<" else blanks + text
