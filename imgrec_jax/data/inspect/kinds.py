"""Table of the kinds of fields: how each is counted, shown and drawn in an inspection."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.fields import (
    BOX_AREA,
    BOX_FLAG,
    BOX_LABEL,
    BOXES,
    CLASSES_OF_PARTS,
    INDEX,
    LABEL,
    LABEL_MAP,
    MASK,
    PIXELS,
    SIZE,
    TOKENS,
    kind_of,
    of_kind,
)
from imgrec_jax.data.inspect.box_statistics import box_lines, boxes_json, draw_boxes, report_boxes
from imgrec_jax.data.inspect.label_statistics import label_lines, labels_json, report_labels
from imgrec_jax.data.inspect.map_statistics import draw_map, map_lines, maps_json, report_maps
from imgrec_jax.data.inspect.number_statistics import number_lines, numbers_json, report_numbers
from imgrec_jax.data.inspect.pixel_statistics import pixel_lines, pixels_json, report_pixels
from imgrec_jax.data.inspect.token_statistics import report_tokens, token_lines, tokens_json
from imgrec_jax.data.raw.items import Images


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        report: `(images, field) -> report`, the statistics of a field of one split. A report with
            the methods `has` and `class_counts` says which images have which class.
        lines: `(field, reports by split, label names) -> text`.
        as_json: `(report, label names) -> JSON`.
        draw: `(pixels uint8[h, w, 3], images, field, row) -> pixels` with the field drawn on them.
    """

    report: Callable[[Images, str], Any]
    lines: Callable[[str, Mapping[str, Any], Sequence[str]], list[str]]
    as_json: Callable[[Any, Sequence[str]], dict[str, Any]]
    draw: Callable[[np.ndarray, Images, str, int], np.ndarray] | None = None


_PARTS_OF_OTHERS = frozenset({BOX_AREA, BOX_FLAG, BOX_LABEL, INDEX, MASK, SIZE})
_UNKNOWN = Kind(report_numbers, number_lines, numbers_json)

KINDS: Mapping[str, Kind] = {
    LABEL: Kind(report_labels, label_lines, labels_json),
    LABEL_MAP: Kind(report_maps, map_lines, maps_json, draw_map),
    BOXES: Kind(report_boxes, box_lines, boxes_json, draw_boxes),
    TOKENS: Kind(report_tokens, token_lines, tokens_json),
    PIXELS: Kind(report_pixels, pixel_lines, pixels_json),
}


def kinds_in(images: Images) -> dict[str, Kind]:
    """Return the fields to inspect beside the images themselves, each with its row of the table."""
    parts = of_kind(images.fields, *CLASSES_OF_PARTS)  # images then have no class of their own
    classes = len(images.label_names)
    own = ("label",) if classes and not parts and (classes > 1 or not images.fields) else ()
    return {
        name: KINDS.get(kind_of(name), _UNKNOWN)
        for name in (*own, *images.fields)
        if kind_of(name) not in _PARTS_OF_OTHERS
    }
