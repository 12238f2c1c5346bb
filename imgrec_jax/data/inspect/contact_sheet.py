"""Draw a contact sheet of a data set: a row of thumbnails for each class."""

import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgrec_jax.core.printable import printable

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL = 96
"""Side of the square that each image gets, in pixels."""

_GAP = 6
_PITCH = THUMBNAIL + _GAP
_MARGIN = 16
_TITLE_HEIGHT = 34
_MOST_NAME_WIDTH = 220
_TITLE, _NAME, _NOTE = 17, 15, 12  # font sizes
_BACKGROUND, _CELL, _INK, _FAINT = "#ffffff", "#f0f0f0", "#202020", "#707070"

_logger = logging.getLogger(__name__)

_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "STHeiti Light.ttc",
    "msyh.ttc",
    "arialuni.ttf",
    "DejaVuSans.ttf",  # Greek, Cyrillic, Arabic
)


class SheetRow(NamedTuple):
    """One class on the sheet.

    Attributes:
        name: text beside the images.
        note: text below the name, such as a number of images.
        images: uint8[h, w, c] each, of any sizes, with 1, 3 or 4 channels.
    """

    name: str
    note: str
    images: Sequence[np.ndarray]


def draw_contact_sheet(title: str, rows: Sequence[SheetRow]) -> "Image":
    """Return the sheet as an RGB image.

    Every image is shown whole: large ones are shrunk to fit a square of `THUMBNAIL` pixels,
    small ones enlarged by an integer factor without smoothing, so that their pixels are visible.
    Characters that no font of this machine has become "?", and a warning lists them.
    """
    from PIL import Image, ImageDraw

    title = printable(title)
    rows = [row._replace(name=printable(row.name)) for row in rows]
    _warn_of_missing("".join(row.name for row in rows))
    left = _MARGIN + _name_width(rows) + _MARGIN
    top = _MARGIN + _TITLE_HEIGHT
    columns = max((len(row.images) for row in rows), default=0)
    width = max(left + columns * _PITCH - _GAP, _MARGIN + _text_width(title, _TITLE))
    height = top + len(rows) * _PITCH - _GAP
    sheet = Image.new("RGB", (width + _MARGIN, height + _MARGIN), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, _MARGIN - 3), title, _TITLE, _INK)
    for line, row in enumerate(rows):
        y = top + line * _PITCH
        middle = y + THUMBNAIL // 2
        name = _shorten(row.name, left - 2 * _MARGIN)
        _write(draw, (_MARGIN, middle - 19), name, _NAME, _INK)
        _write(draw, (_MARGIN, middle + 3), row.note, _NOTE, _FAINT)
        for column, image in enumerate(row.images):
            x = left + column * _PITCH
            draw.rectangle((x, y, x + THUMBNAIL - 1, y + THUMBNAIL - 1), fill=_CELL)
            small = _thumbnail(image)
            corner = (x + (THUMBNAIL - small.width) // 2, y + (THUMBNAIL - small.height) // 2)
            sheet.paste(small, corner, small if small.mode == "RGBA" else None)
    return sheet


def _name_width(rows: Sequence[SheetRow]) -> int:
    names = max((_text_width(row.name, _NAME) for row in rows), default=0)
    notes = max((_text_width(row.note, _NOTE) for row in rows), default=0)
    return max(min(names, _MOST_NAME_WIDTH), notes)


def _thumbnail(image: np.ndarray) -> "Image":
    from PIL import Image

    shown = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longer = max(shown.size)
    if 2 * longer <= THUMBNAIL:
        factor = THUMBNAIL // longer
        size = (shown.width * factor, shown.height * factor)
        return shown.resize(size, Image.Resampling.NEAREST)
    scale = min(1.0, THUMBNAIL / longer)
    size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
    return shown.resize(size, Image.Resampling.LANCZOS)


def _shorten(text: str, width: int) -> str:
    """Remove the middle of a text until it fits into `width` pixels: both ends are informative."""
    kept = len(text)
    short = text
    while kept > 2 and _text_width(short, _NAME) > width:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def _write(draw: Any, corner: tuple[int, int], text: str, size: int, color: str) -> None:
    font = _font_for(text, size)
    missing = _missing(text, font)
    known = "".join("?" if letter in missing else letter for letter in text)
    draw.text(corner, known, fill=color, font=font)


def _text_width(text: str, size: int) -> int:
    return int(_font_for(text, size).getlength(text)) + 1


def _font_for(text: str, size: int) -> Any:
    """Return the first font that has all characters of a text, else Pillow's own."""
    fonts = _fonts(size)
    return next((font for font in fonts if not _missing(text, font)), fonts[0])


def _missing(text: str, font: Any) -> set[str]:
    """Return the characters of a text that a font draws like a missing glyph."""
    missing_glyph = bytes(font.getmask("\U0010ffff"))
    return {
        letter for letter in text if letter != " " and bytes(font.getmask(letter)) == missing_glyph
    }


@functools.cache
def _fonts(size: int) -> tuple[Any, ...]:
    """Return the fonts of this machine: first Pillow's own, which has only Latin letters."""
    from PIL import ImageFont

    found: list[Any] = [ImageFont.load_default(size)]
    for name in _WIDE_FONTS:
        with contextlib.suppress(OSError):  # not on this machine
            found.append(ImageFont.truetype(name, size))
    return tuple(found)


def _warn_of_missing(names: str) -> None:
    nowhere = set(names) - {" "}
    for font in _fonts(_NAME):
        nowhere = _missing("".join(sorted(nowhere)), font)
    if nowhere:
        _logger.warning(
            "no font on this machine has the letters %s of the class names; "
            "try installing Noto Sans CJK",
            "".join(sorted(nowhere)[:10]),
        )
