"""Extract labels and groups from image names by regular expressions."""

import re
from collections.abc import Sequence

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.layout.splits_and_classes import CorrectPlace, Place


def place_by_pattern(pattern: str, correct_place: CorrectPlace | None) -> CorrectPlace:
    """Return a `CorrectPlace` that takes labels from file names (without their folders).

    Args:
        pattern: a regular expression with a group `label`; names without a match have no label.
        correct_place: other information about the images, such as their splits.

    Raises:
        UsageError: the pattern is not a regular expression, or has no such group.
    """
    compiled = _compile(pattern, "data.label_pattern")
    if "label" not in compiled.groupindex:
        raise UsageError(
            f"expected data.label_pattern to have a group named label, got '{pattern}'; "
            r"try --config.data.label_pattern='(?P<label>.+)_\d+\.jpg'"
        )

    def place_of(name: str, by_folder: Place) -> Place:
        place = correct_place(name, by_folder) if correct_place else by_folder
        match = compiled.search(readable(name).rpartition("/")[2])
        return place._replace(label=(match["label"] or "") if match else "")

    return place_of


def number_groups(names: Sequence[str], pattern: str) -> np.ndarray:
    """Return int32[n]: images whose names agree in the pattern's group have the same number.

    Raises:
        UsageError: the pattern is not a regular expression, or does not have exactly one group.
        UserError: a name does not match.
    """
    compiled = _compile(pattern, "data.group_by")
    if compiled.groups != 1:
        raise UsageError(
            "expected data.group_by to be the heading of a column of a table or a regular "
            f"expression with one group, got '{pattern}'; "
            r"try --config.data.group_by='patient(\d+)'"
        )
    keys = []
    for name in names:
        match = compiled.search(readable(name))
        if match is None:
            raise UserError(
                f"expected data.group_by '{pattern}' in the name of every image, got "
                f"'{readable(name)}'; try another expression"
            )
        keys.append(match[1])
    return number_keys(keys)


def number_keys(keys: Sequence[object]) -> np.ndarray:
    """Return int32[n]: equal keys have the same number, in order of first occurrence."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int32)


def _compile(pattern: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"expected a regular expression in {key}, got '{pattern}': {error}; try another"
        ) from error
