"""Read the labels of tables: CSV files, Parquet columns and arrays.

| cell                                   | label                                              |
|----------------------------------------|----------------------------------------------------|
| whole number: 3, 3.0                   | the class with this number, or name                |
| string, bytes, true or false           | the class of this name                             |
| null, NaN, an empty string or list     | none                                               |
| -1                                     | none, except beside 1 alone, where it is a class   |
| list of one cell in each row           | that cell                                          |
| list of zeros and one 1 in each row    | the place of the 1 (one-hot)                       |

Anything else is refused. Memory depends on the number of different labels, never on their values.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError

Label = int | str | None
Place = Callable[[int], str]
"""Returns the name of a row for messages: file, column and row."""

_Name = TypeVar("_Name", bound=int | str)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE)
_WHOLE = re.compile(r"(-?\d+)\.0*")
_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a", "<na>"})
_BYTES = re.compile(r"""b(['"])(.*)\1""")
_UNKNOWN = -1
_SIGNS = {-1, 1}


def plain_labels(cells: Sequence[Any], place: Place) -> list[Label]:
    """Return the label of each cell of a column: a number, a name, or None.

    Raises:
        UserError: a cell is neither, or numbers and names are mixed.
    """
    values = [_plain(cell, place(row)) for row, cell in enumerate(_without_lists(cells, place))]
    number = next((row for row, value in enumerate(values) if isinstance(value, int)), None)
    name = next((row for row, value in enumerate(values) if isinstance(value, str)), None)
    if number is not None and name is not None:
        raise UserError(
            f"expected labels that are all numbers or all names, got {values[number]} in "
            f"{place(number)} and '{values[name]}' in {place(name)}; try one of the two"
        )
    if name is not None:
        return [text or None for text in plain_texts([str(value or "") for value in values], place)]
    if {value for value in values if value is not None} != _SIGNS:
        values = [None if value == _UNKNOWN else value for value in values]
        for row, value in enumerate(values):
            if isinstance(value, int) and value < 0:
                raise _no_class(f"{value}", place(row))
    return values


def plain_texts(texts: Sequence[str], place: Place) -> list[str]:
    """Return the label of each cell of a column of text, such as one of a CSV; "" for none.

    Whole numbers lose their ".0", but keep leading zeros.

    Raises:
        UserError: as in `plain_labels`; a column of numbers has a fraction.
    """
    texts = [text.strip() for text in texts]
    filled = [text for text in texts if text.lower() not in _MISSING]
    if filled and all(map(_NUMBER.fullmatch, filled)):
        whole = [_whole_text(text, place(row)) for row, text in enumerate(texts)]
        return (
            whole
            if set(whole) - {""} == {"-1", "1"}
            else [_not_negative(text, place(row)) for row, text in enumerate(whole)]
        )
    if filled and all(text[0] == "[" and text[-1] == "]" for text in filled):
        lists = [_parse_list(text) if text in filled else None for text in texts]
        return ["" if label is None else str(label) for label in plain_labels(lists, place)]
    if filled and all(map(_BYTES.fullmatch, filled)):
        return [_BYTES.sub(r"\2", text) if text in filled else "" for text in texts]
    return texts


def number_labels(
    values: Mapping[str, Sequence[Label]],
    label_names: Sequence[str],
    place: Callable[[str, int], str],
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of each split, int32[n] with -1 for none, and the names of the classes.

    Args:
        values: by split, as `plain_labels` returns them.
        label_names: the names of the classes 0, 1, ...; empty = the classes are the labels of
            train (of all splits if there is no train), sorted.
        place: names a row of a split, for messages.

    Raises:
        UserError: a label is of no class.
    """
    if label_names:
        numbers: dict[Label, int] = {name: number for number, name in enumerate(label_names)}
        numbers |= {number: number for number in range(len(label_names))}
    else:
        seen = values.get("train", [label for column in values.values() for label in column])
        classes = sorted_classes({label for label in seen if label is not None})
        label_names = [str(label) for label in classes]
        numbers = {label: number for number, label in enumerate(classes)}
    labels = {}
    for split, column in values.items():
        for row, label in enumerate(column):
            if label is not None and label not in numbers:
                shown = ", ".join(label_names[:5]) + ", ..." * (len(label_names) > 5)
                raise UserError(
                    f"expected a label of the {len(label_names)} classes ({shown}), got '{label}' "
                    f"in {place(split, row)}; try correcting it, or another column of labels"
                )
        labels[split] = np.array([numbers.get(label, -1) for label in column], np.int32)
    return labels, tuple(label_names)


def sorted_classes(labels: Collection[_Name]) -> list[_Name]:
    """Return classes in alphabetical order, or in numeric order if all are decimal numbers."""
    numeric = all(str(label).removeprefix("-").isdecimal() for label in labels)
    return sorted(labels, key=_numeric_order if numeric else str)


def _numeric_order(label: int | str) -> tuple[bool, int, str, str]:
    """Return a key that sorts "-1" and digits as numbers; Python converts at most 4,300 digits."""
    digits = str(label).lstrip("-0")
    return not str(label).startswith("-"), len(digits), digits, str(label)


def _without_lists(cells: Sequence[Any], place: Place) -> Sequence[Any]:
    """Return cells in which lists of one element, or one-hot lists, are replaced by labels."""
    lists = {row: list(cell) for row, cell in enumerate(cells) if isinstance(cell, list | tuple)}
    if not lists:
        return cells
    filled = {row: cell for row, cell in lists.items() if cell}
    lengths = {len(cell) for cell in filled.values()}
    if all(row in lists or cell is None for row, cell in enumerate(cells)):
        if lengths <= {1}:
            return [filled[row][0] if row in filled else None for row in range(len(cells))]
        if len(lengths) == 1 and all(map(_is_one_hot, filled.values())):
            return [filled[row].index(1) if row in filled else None for row in range(len(cells))]
    row = next(row for row, cell in lists.items() if len(cell) != 1 or len(lengths) == 1)
    raise UserError(
        f"expected one label for each image, got a list of {len(lists[row])} in {place(row)}; "
        "try a column with one class an image"
    )


def _is_one_hot(cell: Sequence[Any]) -> bool:
    numbers = all(isinstance(part, int | float) for part in cell)
    return numbers and sorted(cell) == [0] * (len(cell) - 1) + [1]


def _plain(cell: Any, where: str) -> Label:
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, bytes):
        cell = decode_text(cell, where)
    if isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, str):
        return cell.strip() or None
    if cell is None or isinstance(cell, int):
        return cell
    if isinstance(cell, float | Decimal):
        if math.isnan(cell):
            return None
        if math.isfinite(cell) and abs(cell) < 2**63 and cell == int(cell):
            return int(cell)
    raise _no_class(str(cell)[:30], where)


def _whole_text(text: str, where: str) -> str:
    """Return the text of a whole number; "" for a missing one."""
    if text.lower() in _MISSING:
        return ""
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    return text if re.fullmatch(r"[+-]?\d+", text) else str(_plain(float(text), where))


def _not_negative(text: str, where: str) -> str:
    if text.startswith("-") and text != "-1":
        raise _no_class(text, where)
    return "" if text == "-1" else text


def _parse_list(text: str) -> list[Any] | str:
    try:
        return json.loads(text.replace("'", '"'))
    except (ValueError, RecursionError):
        return text


def _no_class(got: str, where: str) -> UserError:
    return UserError(
        f"expected a class as a whole number from 0 or a name, got {got} in {where}; "
        "try another column of labels, or correcting it"
    )
