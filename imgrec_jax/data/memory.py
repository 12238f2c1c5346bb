"""How much of the memory decoded pictures may take."""

import os
from pathlib import Path

MAX_DECODED_BYTES = 2 << 30
"""Up to this size, and a quarter of the memory, a set is decoded once and kept."""

_CGROUP_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # version 2, version 1


def decoded_limit() -> int:
    """Return up to how many bytes a whole data set is decoded into memory.

    Larger sets are decoded as their pictures are used. A quarter, because while a set is decoded
    and first stored the encoded files pass through the memory too.
    """
    return min(MAX_DECODED_BYTES, memory_bytes() // 4)


def memory_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory of the machine, or of the container where that is less."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # no Unix
        limits = [4 * MAX_DECODED_BYTES]
    for name in _CGROUP_LIMITS:
        try:
            text = (cgroup / name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)
