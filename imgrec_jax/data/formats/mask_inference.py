"""Infer the classes of label images from the values of their pixels."""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.fields import IGNORE
from imgrec_jax.data.formats.mask_values import MOST_CLASSES, MaskValues, value_table

_LOGGER = logging.getLogger(__name__)
_LARGEST_NUMBER = 31  # larger values are class numbers if there are many, else grey levels
_FEW_BETWEEN = 3  # values on edges alone, at which masks count as interpolated
_LISTED = 8  # values of a flag in a message


@dataclass(frozen=True)
class ValueCounts:
    """How often the values of label images occur.

    Attributes:
        pixels: the number of pixels of each value.
        images: the number of label images with each value.
        areas: the values that fill a square of 3x3 pixels somewhere. The others occur on edges and
            thin lines alone.
    """

    pixels: Mapping[int, int] = field(default_factory=dict)
    images: Mapping[int, int] = field(default_factory=dict)
    areas: frozenset[int] = frozenset()

    def share(self, *values: int) -> float:
        """Return the fraction of all pixels with one of the values."""
        return sum(self.pixels.get(v, 0) for v in values) / max(1, sum(self.pixels.values()))


def count_values(mask: np.ndarray) -> ValueCounts:
    """Return the counts of one label image, int32[h, w]."""
    import cv2

    if mask.max(initial=0) < 1 << 16:
        counts = np.bincount(mask.ravel())
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(mask, return_counts=True)
    exact = mask.astype(np.float32)  # below 2^24
    square = np.ones((3, 3), np.uint8)
    flat = (cv2.erode(exact, square) == cv2.dilate(exact, square))[1:-1, 1:-1]
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return ValueCounts(
        pixels, dict.fromkeys(pixels, 1), frozenset(np.unique(mask[1:-1, 1:-1][flat]).tolist())
    )


def add_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """Return the counts of several groups of label images together."""
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    areas: set[int] = set()
    for part in parts:
        pixels.update(part.pixels)
        images.update(part.images)
        areas |= part.areas
    return ValueCounts(pixels, images, frozenset(areas))


def values_of(counts: Iterable[ValueCounts], where: str) -> MaskValues:
    """Return the meaning of values without a class list, and print a warning for each open choice.

    255 is ignored if the other values are class numbers (small, or many), and a class if they are
    grey levels, as in masks of 0, 128 and 255. Two values, of which one is 0, are background and
    object. Other classes are named by their values.

    Args:
        counts: of each label image of train.
        where: the data set, for messages.

    Raises:
        UserError: there are too many values for classes.
    """
    total = add_counts(counts)
    table = _infer(total, where)
    for note in _notes(total, table):
        _LOGGER.warning("masks of %s: %s", where, note)
    return table


def _infer(counts: ValueCounts, where: str) -> MaskValues:
    values = sorted(counts.pixels)
    others = [value for value in values if value != IGNORE]
    classes = others if _are_class_numbers(others) else values
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"expected at most {MOST_CLASSES} classes, got {len(classes)} values in the masks of "
            f"{where}; try masks that hold class numbers, or "
            f"{_spans(counts) or '--config.data.mask_values'}"
        )
    two = len(classes) == 2 and classes[0] == 0
    names = ["background", "object"] if two else list(map(str, classes))
    pairs = list(zip(classes, names, strict=True))
    return value_table(
        pairs if IGNORE in classes else [*pairs, (IGNORE, "ignore")],
        colors=False,
        source=f"train of {where}",
    )


def _notes(counts: ValueCounts, table: MaskValues) -> list[str]:
    """Return a sentence for each choice that the masks leave open."""
    if spans := _spans(counts):
        between = _between(counts)
        few = ", ".join(map(str, between[:3])) + (", ..." if between[3:] else "")
        return [
            f"{len(between)} of {len(counts.pixels)} values ({few}; "
            f"{_percent(counts.share(*between))} of the pixels) occur on edges alone, as in masks "
            f"resized with interpolation; try masks resized to the nearest value, or {spans}"
        ]
    notes = []
    values = sorted(counts.pixels)
    if table.label_names == ("background", "object"):
        first, second = (v for v in values if table.numbers[v] != IGNORE)
        rest = "255=ignore" if IGNORE in values and second != IGNORE else ""
        notes.append(
            f"{first} is background ({_percent(counts.share(first))} of the pixels), {second} is "
            f"object ({_percent(counts.share(second))}); {_flag([first, second], rest)} names "
            "them otherwise"
        )
    elif IGNORE in values and table.numbers[IGNORE] != IGNORE:
        grey = _flag([v for v in values if v != IGNORE], "255=ignore")
        notes.append(
            f"255 is a class ({_percent(counts.share(IGNORE))} of the pixels), as the values "
            f"are grey levels; {grey} ignores it"
        )
    if IGNORE in values and table.numbers[IGNORE] == IGNORE:
        notes.append(
            f"255 is ignored ({_percent(counts.share(IGNORE))} of the pixels); "
            f"{_flag(values)} makes it a class"
        )
    return notes


def values_flag(counts: ValueCounts, table: MaskValues) -> str:
    """Return the flag that gives values their present meaning, or a better one, to be changed."""
    if spans := _spans(counts):
        return spans
    values = sorted(counts.pixels)
    return _quoted([f"{table.spell(v)}={table.name(v) or 'NAME'}" for v in values])


def _are_class_numbers(values: Sequence[int]) -> bool:
    """Return whether values are the numbers of classes: none is large, or they are dense."""
    largest = max(values, default=0)
    several = len(values) > 1 or largest > 0  # 0 and 255 are two classes
    return several and (largest <= _LARGEST_NUMBER or 4 * len(values) > largest)


def _between(counts: ValueCounts) -> list[int]:
    """Return the values on edges alone, if they look like blends of others; else []."""
    values = sorted(counts.pixels)
    blends = [value for value in values[1:-1] if value not in counts.areas]
    many = counts.areas and len(blends) >= _FEW_BETWEEN and 2 * len(blends) > len(values)
    return blends if many and counts.share(*blends) < 0.5 else []


def _spans(counts: ValueCounts) -> str:
    """Return the flag that maps interpolated values to the nearest others; "" if there are none."""
    if not (blends := set(_between(counts))):
        return ""
    main = [value for value in sorted(counts.pixels) if value not in blends]
    starts = [0, *((low + high + 1) // 2 for low, high in itertools.pairwise(main))]
    ends = [*(start - 1 for start in starts[1:]), main[-1]]
    two = len(main) == 2 and main[0] == 0
    names = ["background", "object"] if two else list(map(str, main))
    spans = zip(starts, ends, names, strict=True)
    return _quoted([f"{low}-{high}={name}" for low, high, name in spans])


def _flag(values: Sequence[int], last: str = "") -> str:
    return _quoted([*(f"{value}=NAME" for value in values), *([last] if last else [])])


def _quoted(parts: list[str]) -> str:
    shown = parts if len(parts) <= _LISTED else [*parts[:3], "...", parts[-1]]
    return f"--config.data.mask_values='{','.join(shown)}'"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
