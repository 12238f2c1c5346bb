"""Columns of text for a terminal."""

import unicodedata
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return rows as lines with aligned columns, two blanks apart.

    `align` holds "<" or ">" for each column. Chinese, Japanese and Korean characters count as
    two cells, as terminals show them.
    """
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_pad, row, widths, align)).rstrip() for row in rows]


def shorten(text: str, width: int, mark: str = "..") -> str:
    """Return `text` cut to at most `width` cells, with `mark` at its end where it was cut."""
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


def _pad(text: str, width: int, side: str) -> str:
    blanks = " " * (width - display_width(text))
    return text + blanks if side == "<" else blanks + text
