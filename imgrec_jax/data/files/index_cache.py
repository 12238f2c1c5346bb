"""Cache expensive indices as arrays, in one file `index/KEY.npz` each."""

import contextlib
import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping

import numpy as np

from imgrec_jax.core.cache_folder import cache_dir

_FORMAT = 3  # part of every key: increase it when the format of an index changes

_logger = logging.getLogger(__name__)


def index_key(*parts: object) -> str:
    """Return a key that depends on the `repr` of the parts: 64 hexadecimal digits."""
    text = repr((_FORMAT, parts)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()


def load_index(key: str) -> dict[str, np.ndarray] | None:
    """Return the arrays cached under a key; None if they are missing or damaged."""
    try:  # the zip format checks the checksum of each array
        with (cache_dir() / "index" / f"{key}.npz").open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile):
        return None


def keep_index(key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Cache arrays atomically; a failure gives one warning."""
    try:
        folder = cache_dir() / "index"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=".draft-", suffix=".npz", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(draft, folder / f"{key}.npz")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
    except (OSError, RuntimeError) as error:
        _logger.warning(
            "the list of images is not cached: %s; try IMGREC_JAX_CACHE=FOLDER with another folder",
            error,
        )
