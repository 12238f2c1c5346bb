"""Flatten nested settings to dotted keys."""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
"""A config as JSON: nested mappings of numbers, strings, lists."""


RENAMED = {"eval_views": "tta", "mixing": "mix"}
"""Keys of earlier versions and their current names."""


def with_new_names(settings: Settings) -> dict[str, Any]:
    """Return a saved config with keys of earlier versions renamed to the current ones."""
    return {RENAMED.get(key, key): value for key, value in settings.items()}


def flatten(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings as `{"optim.adam.b1": 0.9, ...}`."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        leaves |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return leaves
