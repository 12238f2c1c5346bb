"""Select parameters by patterns of their paths, such as `conv1/kernel`.

Patterns are regular expressions, searched for in a path. A pattern without a match is an error.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax

from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.ranges import POSITIVE
from imgrec_jax.core.tree_paths import path_name

_SHOWN = 60
_PLAIN = {"bias", "scale"}


def shapes(params: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter by its path."""
    return {path_name(p): tuple(x.shape) for p, x in jax.tree_util.tree_leaves_with_path(params)}


def select(key: str, text: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names that contain a match of an alternative in `"conv1|conv2"`.

    Raises:
        UsageError: an alternative matches nothing, or is not a regular expression.
    """
    names = list(names)
    chosen = set()
    for pattern in _alternatives(text):
        found = {name for name in names if _search(key, pattern, name)}
        if not found:
            raise _no_match(key, pattern, names)
        chosen |= found
    return frozenset(chosen)


def kernels(parameters: Mapping[str, tuple[int, ...]]) -> frozenset[str]:
    """Return all but norms and biases: parameters that are not vectors, `bias` or `scale`."""
    return frozenset(
        name
        for name, shape in parameters.items()
        if len(shape) > 1 and name.rpartition("/")[2] not in _PLAIN
    )


def multipliers(key: str, text: str, names: Iterable[str]) -> dict[str, float]:
    """Return each name's number by rules such as `"head=10;.*norm.*=0.1"`; the first match counts.

    Raises:
        UsageError: a rule cannot be parsed, or matches no remaining name.
    """
    patterns: list[str] = []
    numbers: list[float] = []
    for rule in filter(None, (part.strip() for part in text.split(";"))):
        pattern, _, written = rule.rpartition("=")
        number = _number(written)
        if not pattern or not POSITIVE.accepts(number):
            raise UsageError(
                f"expected {key} as PATTERN=NUMBER;... with numbers above 0, "
                f"up to {POSITIVE.high:g}, got '{rule}'; "
                "try 'head=10', or optim.freeze for frozen parameters"
            )
        numbers.append(number)
        patterns.append(pattern)
    return {name: numbers[rule] for name, rule in first_matches(key, patterns, names).items()}


def first_matches(key: str, patterns: Iterable[str], names: Iterable[str]) -> dict[str, int]:
    """Return for each name the index of the first pattern, from 0, that matches it.

    Names without a match are left out.

    Raises:
        UsageError: a pattern matches no remaining name, or is not a regular expression.
    """
    names = list(names)
    first: dict[str, int] = {}
    for place, pattern in enumerate(patterns):
        found = {name for name in names if _search(key, pattern, name)}
        if not found:
            raise _no_match(key, pattern, names)
        if found <= first.keys():
            raise UsageError(
                f"expected each rule of {key} to be of use, got '{pattern}', whose parameters all "
                "belong to the rules before it; try the special rules first"
            )
        first |= dict.fromkeys(found - first.keys(), place)
    return first


def every_match(key: str, patterns: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Return the result of `first_matches` for patterns that must match every name.

    Raises:
        UsageError: as in `first_matches`, or no pattern matches a name.
    """
    names = list(names)
    first = first_matches(key, patterns, names)
    if uncovered := [name for name in names if name not in first]:
        raise UsageError(
            f"expected {key} to have a rule for every parameter, got '{'; '.join(patterns)}', "
            f"which leaves out {_listed(uncovered)}; try a last rule '.*=adam'"
        )
    return first


def depths(key: str, text: str, names: Iterable[str]) -> dict[str, int]:
    """Return the index of each name's layer, counted from the input (0).

    `"patch|pos;block([0-9]+);head"` lists layers from input to output. A pattern with groups
    stands for one layer per number in them, in numeric order. The first match counts.

    Raises:
        UsageError: a pattern matches nothing, or a parameter is in no layer.
    """
    names = list(names)
    patterns = [part.strip() for part in text.split(";") if part.strip()]
    layer: dict[str, tuple[int, ...]] = {}
    for place, pattern in enumerate(patterns):
        found = {name: match for name in names if (match := _search(key, pattern, name))}
        if not found:
            raise _no_match(key, pattern, names)
        for name, match in found.items():
            numbers = tuple(_layer_number(key, pattern, group) for group in match.groups())
            layer.setdefault(name, (place, *numbers))
    if uncovered := [name for name in names if name not in layer]:
        raise UsageError(
            f"expected {key} to name every parameter, from input to output, got "
            f"'{text}', which leaves out {_listed(uncovered)}; try patterns such as "
            "'stem;block([0-9]+);head'"
        )
    order = {numbers: depth for depth, numbers in enumerate(sorted(set(layer.values())))}
    return {name: order[numbers] for name, numbers in layer.items()}


def _alternatives(text: str) -> list[str]:
    """Split at each `|` outside brackets, so that each alternative can be checked alone."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "([") - (sign in ")]")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _search(key: str, pattern: str, name: str) -> re.Match[str] | None:
    try:
        return re.search(pattern, name) if pattern else None
    except re.error as error:
        raise UsageError(
            f"expected a regular expression in {key}, got '{pattern}' ({error}); try 'conv1|head'"
        ) from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _layer_number(key: str, pattern: str, group: str | None) -> int:
    if group is None or not group.isdecimal():
        raise UsageError(
            f"expected groups of {key} to hold the numbers of layers, got '{group}' by "
            f"'{pattern}'; try 'block([0-9]+)'"
        )
    return int(group)


def _no_match(key: str, pattern: str, names: Collection[str]) -> UsageError:
    known = [*names, *{part for name in names for part in name.split("/")}]
    hint = did_you_mean(pattern, known) or ";"
    return UsageError(
        f"expected patterns of {key} that match a parameter, got '{pattern}'{hint} "
        f"paths: {_listed(names)}"
    )


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:_SHOWN]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
