"""Choose the images of a contact sheet, and draw their annotations on them."""

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.fields import PIXELS, kind_of
from imgrec_jax.data.inspect.contact_sheet import SheetRow
from imgrec_jax.data.inspect.inspection import SplitReport
from imgrec_jax.data.inspect.kinds import kinds_in
from imgrec_jax.data.raw.items import Images

_ROWS = 20
_COLUMNS = 10


def sheet_rows(images: Images, report: SplitReport) -> list[SheetRow]:
    """Return rows for a contact sheet: evenly spaced images of evenly spaced classes.

    Neighbouring images replace damaged ones. Boxes and label maps are drawn on the images; further
    images of an example, such as a target, follow it.
    """
    classes = len(images.label_names)
    if not classes:
        return [SheetRow("", _count(len(images)), _some(images, np.arange(len(images))))]
    some = np.unique(np.linspace(0, classes - 1, min(classes, _ROWS)).astype(int))
    rows = []
    for label in some.tolist():
        members = np.flatnonzero(report.has(label))
        note = f"class {label}: {_count(len(members))}"
        rows.append(SheetRow(images.label_names[label], note, _some(images, members)))
    return rows


def _count(images: int) -> str:
    return f"{images:,} image{'s' * (images != 1)}"


def _some(images: Images, members: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    columns = min(len(members), _COLUMNS)
    for part in np.array_split(members, columns) if columns else []:
        for row in part.tolist():
            try:
                found += _drawn(images, row)
                break
            except UserError:
                continue
    return found[:_COLUMNS]


def _drawn(images: Images, row: int) -> list[np.ndarray]:
    """Return an image with its annotations drawn on it, and the further images of its example.

    Raises:
        UserError: it is damaged.
    """
    pixels = images.read(row)[1]
    for name, kind in kinds_in(images).items():
        if kind.draw:
            pixels = kind.draw(_rgb(pixels), images, name, row)
    others = [name for name in images.fields if kind_of(name) == PIXELS]
    return [_bytes(pixels), *(_bytes(np.asarray(images.fields[name][row])) for name in others)]


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Return uint8[h, w, 3] of an image with any number of channels."""
    pixels = _bytes(pixels)
    return pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., :1].repeat(3, -1)


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """Return an image as uint8; floating-point pixels are in 0 .. 1."""
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if pixels.dtype.kind == "f":
        return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    return pixels
