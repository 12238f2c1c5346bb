"""Limit the memory that decoded images may take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

MAX_DECODED_BYTES = 2 << 30
"""Sets up to this size, and up to a quarter of the memory, are decoded once and kept."""

_REQUESTED: ContextVar[int | None] = ContextVar("_REQUESTED", default=None)
_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # version 2, version 1


def decoded_limit() -> int:
    """Return the largest size in bytes of a data set that is decoded into memory as a whole.

    Images of larger sets are decoded on demand. The limit is a quarter of the memory, because the
    encoded files also pass through memory while a set is decoded and first stored.
    """
    if (requested := _REQUESTED.get()) is not None:
        return requested
    return min(MAX_DECODED_BYTES, memory_bytes() // 4)


@contextmanager
def limited(gigabytes: float) -> Iterator[None]:
    """Set `decoded_limit` within a context in which sources are opened; -1 leaves it unchanged."""
    token = _REQUESTED.set(None if gigabytes == -1 else int(gigabytes * 1e9))
    try:
        yield
    finally:
        _REQUESTED.reset(token)


def memory_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory of the machine in bytes, or of the container if that is less."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # not Unix
        limits = [4 * MAX_DECODED_BYTES]
    for name in _CGROUP_LIMITS:
        try:
            text = (cgroup / name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)
