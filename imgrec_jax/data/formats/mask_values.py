"""Map the pixel values of label images to classes or to "ignore"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.fields import IGNORE

MOST_CLASSES = 255

_MOST_VALUES = 1 << 16  # of a range
_NUMBERS = re.compile(r"\d{1,9}(-\d{1,9})?", re.ASCII)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")

_IGNORED = {"ignore", "ignored", "unlabelled", "unlabeled", "unlabled", "void"}

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
"""The classes of Pascal VOC by value; 255 is void."""


@dataclass(frozen=True)
class MaskValues:
    """The meaning of the values of label images.

    Attributes:
        label_names: the classes, in the order of their numbers.
        numbers: the class number of each value; `IGNORE` for ignored values. A colour is the
            value 0xRRGGBB.
        colors: whether values are colours.
        source: the origin of these meanings, for messages.
    """

    label_names: tuple[str, ...]
    numbers: Mapping[int, int]
    colors: bool
    source: str

    def apply(self, mask: np.ndarray, name: str) -> np.ndarray:
        """Return uint8[h, w], the class number of each pixel of a label image int[h, w].

        Raises:
            UserError: it has an undefined value.
        """
        dense = not self.colors and mask.max() < 1 << 16  # each value is its own index
        if dense:
            values, places = np.flatnonzero(np.bincount(mask.ravel())), mask
        else:
            values, places = np.unique(mask, return_inverse=True)
        unknown = [self.spell(value) for value in values.tolist() if value not in self.numbers]
        if unknown:
            known = ", ".join(map(self.spell, list(self.numbers)[:12]))
            raise UserError(
                f"expected the values {known} of {self.source} in {name}, got "
                f"{', '.join(unknown[:5])}; try --config.data.mask_values='0=NAME,1=NAME,9=ignore'"
            )
        numbers = np.array([self.numbers[value] for value in values.tolist()], np.uint8)
        if dense:
            table = np.zeros(int(values[-1]) + 1, np.uint8)
            table[values] = numbers
            return table[places]
        return numbers[places.reshape(mask.shape)]

    def name(self, value: int) -> str:
        """Return the class of a value, "ignore", or "" if the value has no meaning."""
        if value not in self.numbers:
            return ""
        number = self.numbers[value]
        return "ignore" if number == IGNORE else self.label_names[number]

    def spell(self, value: int) -> str:
        """Return a value as `data.mask_values` takes it."""
        return f"#{value:06x}" if self.colors else str(value)


NO_VALUES = MaskValues((), {}, colors=False, source="no masks")
NO_COLORS = MaskValues((), {}, colors=True, source="no masks")
"""Of label images whose values, or whose colours, have no meaning yet."""


def read_mask_values(text: str) -> MaskValues | None:
    """Parse "0=background,255=cell,9=ignore", "0-127=a,128-255=b" or "#800000=car,..".

    The result for "" is None.

    Several values may have one name. The name `ignore` (also void, unlabelled) marks ignored
    pixels; classes are numbered in the order of the text.

    Raises:
        UsageError: the text is not such a table.
    """
    if not text.strip():
        return None
    pairs = [part.strip().partition("=") for part in text.split(",")]
    spelled = [(value.strip(), name.strip()) for value, _, name in pairs]
    for value, name in spelled:
        if not name or not (_NUMBERS.fullmatch(value) or _COLOR.fullmatch(value)):
            raise UsageError(
                f"expected data.mask_values as VALUE=NAME,VALUE=NAME (a value is a number, a range "
                f"such as 0-127, or #rrggbb), got '{value}={name}'; try '0=background,255=cell'"
            )
    colors = spelled[0][0].startswith("#")
    if any(value.startswith("#") != colors for value, _ in spelled):
        raise UsageError(
            "expected either numbers or colours in data.mask_values, got both; try one kind"
        )
    numbered = [(value, name) for text, name in spelled for value in _values(text)]
    return value_table(numbered, colors=colors, source="data.mask_values")


def _values(text: str) -> Sequence[int]:
    """Return the values that "7", "0-127" or "#rrggbb" stands for."""
    if text.startswith("#"):
        return [int(text[1:], 16)]
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not low <= high < low + _MOST_VALUES:
        raise UsageError(
            f"expected a range of data.mask_values to hold 1 to {_MOST_VALUES} values, got "
            f"'{text}'; try '0-127=background,128-255=object'"
        )
    return range(low, high + 1)


def read_class_list(data: bytes, name: str) -> MaskValues:
    """Parse a `classes.txt`: one class per line, "NUMBER NAME" or the name alone (numbered from 0).

    Raises:
        UserError: it is not such a list.
    """
    lines = [line.strip() for line in decode_text(data, name).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    parted = [re.fullmatch(r"(\d{1,9})[\s,:]+(.+)", line) for line in lines]
    if lines and all(parted):
        pairs = [(int(m[1]), m[2].strip()) for m in parted if m]
        return value_table(pairs, colors=False, source=name)
    if not lines or any(parted):
        raise UserError(
            f"expected a class a line in {name}, 'NUMBER NAME' in all or in none, got "
            f"{len(lines)} lines; try '0 background'"
        )
    return value_table(list(enumerate(lines)), colors=False, source=name)


def voc_values() -> MaskValues:
    """Return the values of Pascal VOC's own classes."""
    pairs = [*enumerate(VOC_CLASSES), (IGNORE, "void")]
    return value_table(pairs, colors=False, source="Pascal VOC")


def numbered_values(names: Sequence[str], where: str) -> MaskValues:
    """Return classes numbered from 0; 255 is ignored.

    Raises:
        UsageError: there are too many classes.
    """
    pairs = [*enumerate(names), (IGNORE, "ignore")]
    return value_table(pairs, colors=False, source=where)


def value_table(pairs: Sequence[tuple[int, str]], *, colors: bool, source: str) -> MaskValues:
    """Return the meaning of (value, class name) pairs; classes are numbered in their order.

    Raises:
        UsageError: a value occurs twice, or there are no or too many classes.
    """
    names = list(dict.fromkeys(name for _, name in pairs if name.lower() not in _IGNORED))
    numbers: dict[int, int] = {}
    for value, name in pairs:
        if value in numbers:
            raise UsageError(
                f"expected each value once in {source}, got {value} twice; try removing one"
            )
        numbers[value] = IGNORE if name.lower() in _IGNORED else names.index(name)
    if not 1 <= len(names) <= MOST_CLASSES:
        raise UsageError(
            f"expected 1 to {MOST_CLASSES} classes in {source}, got {len(names)}; "
            "try '0=background,1=cell'"
        )
    return MaskValues(tuple(names), numbers, colors, source)
