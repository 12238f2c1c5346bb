"""Choose the axis along which an array is sharded over fsdp: by rule, otherwise by size."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import whole

AXIS = whole(-8, 7)
LEAST_SIZE = 1024
"""Smaller arrays are not sharded: gathering them at each step costs more than it saves."""


class Rule(NamedTuple):
    """Arrays whose path matches `pattern` are sharded along `axis`, or not if it is None."""

    pattern: str
    axis: int | None


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of `PATTERN=AXIS;PATTERN=none`; the first that matches applies.

    A pattern is a regular expression, searched for in paths such as `params/Dense_0/kernel`
    and `opt_state/0/mu/Dense_0/kernel`; an axis counts from 0, or from the end with -1.

    Raises:
        UsageError: a rule cannot be parsed.
    """
    rules = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        pattern, sign, axis = part.rpartition("=")
        try:
            re.compile(pattern)
            number = None if axis == "none" else int(axis)
        except (re.error, ValueError):
            sign, number = "", None
        if not sign or not pattern or not (number is None or AXIS.accepts(number)):
            raise UsageError(
                f"expected parallel.rules as PATTERN=AXIS;..., got '{part}'; "
                "try 'Dense_0/kernel=0;embedding=none'"
            )
        rules.append(Rule(pattern, number))
    return tuple(rules)


def axis_to_cut(path: str, shape: Sequence[int], parts: int, rules: Sequence[Rule]) -> int | None:
    """Return the axis along which an array is sharded into `parts`, or None if it is not.

    Without a rule it is the longest axis that divides evenly; the last one among equals.

    Raises:
        UsageError: a rule names an axis that does not exist or does not divide evenly.
    """
    if parts == 1:
        return None
    for rule in rules:
        if re.search(rule.pattern, path):
            return _axis_of_rule(rule, path, shape, parts)
    size = 1
    for length in shape:
        size *= length
    fitting = [(length, axis) for axis, length in enumerate(shape) if length % parts == 0]
    return max(fitting)[1] if fitting and size >= LEAST_SIZE else None


def unmatched(paths: Sequence[str], rules: Sequence[Rule]) -> list[str]:
    """Return the patterns that match no path."""
    return [r.pattern for r in rules if not any(re.search(r.pattern, path) for path in paths)]


def _axis_of_rule(rule: Rule, path: str, shape: Sequence[int], parts: int) -> int | None:
    if rule.axis is None:
        return None
    if not -len(shape) <= rule.axis < len(shape) or shape[rule.axis] % parts:
        raise UsageError(
            f"expected an axis of {path} {list(shape)} that divides by {parts} in parallel.rules, "
            f"got {rule.axis}; try '{rule.pattern}=none' or another axis"
        )
    return rule.axis % len(shape)
