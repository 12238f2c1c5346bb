"""Warn of class names that probably mean the same class."""

import logging
import unicodedata
from collections.abc import Sequence

_PAIRS = 5  # named at most

_logger = logging.getLogger(__name__)


def warn_of_similar_names(label_names: Sequence[str], where: str) -> None:
    """Print one warning of classes that differ only in case, spaces, or as 1 and 1.0 do."""
    first: dict[str, str] = {}
    pairs = [(first[_key(n)], n) for n in label_names if first.setdefault(_key(n), n) != n]
    if pairs:
        shown = ", ".join(f"'{one}' and '{other}'" for one, other in pairs[:_PAIRS])
        more = f" and {len(pairs) - _PAIRS} more" if len(pairs) > _PAIRS else ""
        _logger.warning(
            "%s: the classes %s%s differ only in case, spaces or the form of a number: they are "
            "different classes; try renaming one of each if they are the same",
            where, shown, more,
        )  # fmt: skip


def _key(name: str) -> str:
    """Return what names have in common that probably mean the same."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    try:
        return repr(float(plain))
    except ValueError:
        return plain
