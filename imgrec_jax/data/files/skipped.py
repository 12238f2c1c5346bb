"""Name the entries of a folder or archive that are skipped, in one warning."""

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

_NAMED = 3  # the others are counted

_logger = logging.getLogger(__name__)


def warn_skipped(root: Path, names: Iterable[str]) -> None:
    """Name entries that are no regular files, once for each folder or archive in a process.

    Args:
        root: the folder or archive.
        names: the printable names of the entries.
    """
    if listed := tuple(names):
        _warn(root, listed)


@functools.lru_cache(maxsize=16)  # opening a source lists it more than once
def _warn(root: Path, names: tuple[str, ...]) -> None:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    _logger.warning(
        "%s: %s%s skipped: no regular file, or a link in an archive or in a circle",
        root,
        ", ".join(names[:_NAMED]),
        more,
    )
