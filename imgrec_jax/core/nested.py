"""Nested settings by dotted key."""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
"""A config as JSON: nested mappings of numbers, strings, lists."""


def flatten(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings as `{"optim.adam.b1": 0.9, ...}`."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        leaves |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return leaves
