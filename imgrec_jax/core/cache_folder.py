"""Locate the cache folder for decoded images and compiled programs."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder: `IMGREC_JAX_CACHE`, else `imgrec_jax` in the XDG cache folder.

    Raises:
        RuntimeError: neither is set and the user has no home directory.
    """
    if own := os.environ.get("IMGREC_JAX_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "imgrec_jax"
