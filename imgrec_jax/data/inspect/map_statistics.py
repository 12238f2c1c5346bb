"""Statistics of label maps: the share of each value, and the class that it stands for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.fields import IGNORE
from imgrec_jax.core.palette import color
from imgrec_jax.core.text_table import shorten, table
from imgrec_jax.data.formats.mask_inference import (
    ValueCounts,
    add_counts,
    count_values,
    values_flag,
)
from imgrec_jax.data.formats.mask_values import MaskValues
from imgrec_jax.data.raw.items import Images, RawMasks

_VALUES = 20  # shown at most; --json has all
_OPACITY = 0.5


class Value(NamedTuple):
    """One value of the label maps of a split: how it is written, where it occurs, its class."""

    value: str
    pixels: int
    images: int
    taken_for: str


@dataclass(frozen=True)
class MapReport:
    """The label maps of one split.

    Attributes:
        values: every value, the most frequent first.
        unknown: whether there is a value without a meaning, which training refuses.
        flag: the setting that changes the meaning of the values; "" if they are class numbers.
        present: bool[n, k], the classes of each label map.
        sizes: the (height, width) of each label map; None where it is damaged.
        damaged: an error message for each damaged label map.
    """

    values: tuple[Value, ...]
    unknown: bool
    flag: str
    present: np.ndarray
    sizes: tuple[tuple[int, int] | None, ...]
    damaged: tuple[str, ...]

    def has(self, label: int) -> np.ndarray:
        """Return which images have a pixel of a class: bool[n]."""
        return self.present[:, label]

    def class_counts(self) -> np.ndarray:
        """Return the number of images with a pixel of each class, int64[k]."""
        return self.present.sum(0)


def report_maps(images: Images, name: str) -> MapReport:
    """Return the statistics of the label maps of images."""
    field = images.fields[name]
    meaning = field.table if isinstance(field, RawMasks) else _numbers(images.label_names)
    present = np.zeros((len(images), len(images.label_names)), bool)
    parts: list[ValueCounts] = []
    damaged: list[str] = []
    sizes: list[tuple[int, int] | None] = []
    for row, found in enumerate(_counted(field)):
        sizes.append(None if isinstance(found, UserError) else found[0])
        if isinstance(found, UserError):
            damaged.append(str(found))
            continue
        parts.append(found[1])
        classes = {meaning.numbers.get(value, IGNORE) for value in found[1].pixels}
        present[row, [number for number in classes if number < present.shape[1]]] = True
    counts = add_counts(parts)
    values = tuple(
        Value(meaning.spell(value), pixels, counts.images[value], meaning.name(value) or "no class")
        for value, pixels in Counter(counts.pixels).most_common()
    )
    return MapReport(
        values,
        any(value not in meaning.numbers for value in counts.pixels),
        values_flag(counts, meaning) if isinstance(field, RawMasks) else "",
        present,
        tuple(sizes),
        tuple(damaged),
    )


def map_lines(name: str, reports: Mapping[str, MapReport], label_names: Sequence[str]) -> list[str]:
    """Return the share of each value as text."""
    del label_names
    values = list(dict.fromkeys(v.value for report in reports.values() for v in report.values))
    found = {split: {v.value: v for v in report.values} for split, report in reports.items()}
    taken_for = {v.value: v.taken_for for report in reports.values() for v in report.values}
    heads = [f"{what} {split}" for split in reports for what in ("pixels in", "images in")]
    rows = [[f"value of {name}", *heads, "taken for"]]
    for value in values[:_VALUES]:
        cells = []
        for split, report in reports.items():
            entry = found[split].get(value)
            total = sum(v.pixels for v in report.values)
            share = 100 * entry.pixels / total if entry else 0.0
            cells += [f"{share:.2f} %", f"{entry.images if entry else 0:,}"]
        rows.append([value, *cells, shorten(taken_for[value], 40)])
    text = table(rows, "<" + ">" * len(heads) + "<")
    if len(values) > _VALUES:
        text.append(f"... {len(values) - _VALUES:,} more (--json has all)")
    first = next(iter(reports.values()))
    if any(report.unknown for report in reports.values()):
        text.append(f"training refuses values without a class; try {first.flag}")
    elif first.flag:
        text.append(f"{first.flag} changes what values are taken for")
    return text


def maps_json(report: MapReport, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the share of each value as JSON."""
    del label_names
    total = sum(value.pixels for value in report.values)
    values = [{**value._asdict(), "share": value.pixels / total} for value in report.values]
    return {"values": values, "flag": report.flag}


def draw_map(pixels: np.ndarray, images: Images, name: str, row: int) -> np.ndarray:
    """Return uint8[h, w, 3] with the colour of its class on each pixel, except ignored ones."""
    field = images.fields[name]
    meaning = field.table if isinstance(field, RawMasks) else _numbers(images.label_names)
    mask = np.asarray(field[row]).astype(np.int64)
    if mask.shape != pixels.shape[:2]:
        return pixels
    values, places = np.unique(mask, return_inverse=True)
    numbers = np.array([meaning.numbers.get(v, IGNORE) for v in values.tolist()])
    colors = np.array([color(k) if k != IGNORE else (0, 0, 0) for k in numbers.tolist()])
    overlay = colors[places.reshape(mask.shape)]
    known = (numbers != IGNORE)[places.reshape(mask.shape)]
    mixed = np.rint((1 - _OPACITY) * pixels + _OPACITY * overlay).astype(np.uint8)
    return np.where(known[..., None], mixed, pixels)


def _numbers(label_names: Sequence[str]) -> MaskValues:
    """Return the meaning of label maps that hold class numbers."""
    numbers = {number: number for number in range(len(label_names))} | {IGNORE: IGNORE}
    return MaskValues(tuple(label_names), numbers, colors=False, source="the classes")


Counted = tuple[tuple[int, int], ValueCounts]


def _counted(field: np.ndarray | RawMasks) -> Iterator[Counted | UserError]:
    """Yield the size of each label map and the counts of its values, or an error."""

    def count(mask: np.ndarray) -> Counted:
        return (mask.shape[0], mask.shape[1]), count_values(mask)

    if isinstance(field, RawMasks):
        yield from field.map(count)
    else:
        for mask in field:
            yield count(mask.astype(np.int32))
