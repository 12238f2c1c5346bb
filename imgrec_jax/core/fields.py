"""Field names of examples, grouped by kind.

Code that processes examples (geometry, normalisation, relabelling, mixing, reports) selects fields
by kind, so a new field is one line in `KINDS`. A batch may hold further samples of each row under
a prefix: its mixing partner (`partner_image`, ...), unlabelled examples beside it
(`unlabelled_image`, [n, ratio, ...]), and further views of each (`view2_image`,
`unlabelled_view2_image`).
"""

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

PIXELS = "pixels"  # uint8 or uint16, in networks float32 [h, w, c]
LABEL_MAP = "label_map"  # a class number per pixel, [h, w]
BOXES = "boxes"  # x0, y0, x1, y1 in pixels, [m, 4]
BOX_FLAG = "box_flag"  # bool[m], a flag of each box
BOX_LABEL = "box_label"  # int32[m], the class number of a box
BOX_AREA = "box_area"  # float32[m], the annotated area of a box, in pixels of the stored image
SIZE = "size"  # int32[2], height and width of the stored image
LABEL = "label"  # the class number of an example
TOKENS = "tokens"  # int32[t], numbers in a vocabulary
MASK = "mask"  # false in padding
SIZE = "size"  # int32[2], the height and width of an image within its padding
INDEX = "index"  # which example it is, and how often it has occurred

KINDS: Mapping[str, str] = {
    "image": PIXELS,
    "target_image": PIXELS,
    "label_map": LABEL_MAP,
    "boxes": BOXES,
    "box_mask": BOX_FLAG,
    "box_ignore": BOX_FLAG,
    "box_label": BOX_LABEL,
    "box_area": BOX_AREA,
    "image_size": SIZE,
    "label": LABEL,
    "tokens": TOKENS,
    "target_tokens": TOKENS,
    "mask": MASK,
    "size": SIZE,
    "index": INDEX,
    "epoch": INDEX,
}
PLACED = frozenset({LABEL_MAP, BOXES})
"""Kinds that belong to positions in an image, and move with its pixels."""
CLASSES_OF_PARTS = frozenset({LABEL_MAP, BOX_LABEL})
"""Kinds with class numbers of parts of an image; the image then has no class of its own."""

PARTNER = "partner_"
UNLABELLED = "unlabelled_"
SAMPLES = ("", PARTNER, UNLABELLED)
"""The prefixes of the samples of a row that are read from a source."""
_PREFIX = re.compile(r"((?:partner_|unlabelled_)?(?:view\d+_)?)(.*)", re.DOTALL)

IGNORE = 255
"""The class number of pixels excluded from loss and scores, such as those outside the image."""


def view_prefix(number: int) -> str:
    """Return the prefix of a view, counted from 1; the first has none."""
    return f"view{number}_" if number > 1 else ""


def kind_of(name: str) -> str:
    """Return the kind of a field with any prefix; "" if it has none."""
    match = _PREFIX.fullmatch(name)
    return KINDS.get(match[2], "") if match else ""


def of_kind(fields: Mapping[str, T], *kinds: str) -> dict[str, T]:
    """Return the fields of the given kinds, with all prefixes."""
    return {name: value for name, value in fields.items() if kind_of(name) in kinds}


def sample(fields: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Return the fields with one prefix ("" for none), under their names without it."""
    pairs = ((_PREFIX.fullmatch(name), value) for name, value in fields.items())
    return {m[2]: value for m, value in pairs if m and m[1] == prefix}
