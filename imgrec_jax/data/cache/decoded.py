"""Cache decoded data sets on disk, so that the next start is faster.

An entry is a folder `decoded/KEY` in the cache: a `.npy` file per split for images, labels and each
target, and `meta.json`, which holds the label names, the facts and a checksum of each array. It is
written under another name and then renamed, so that an entry is complete or absent, even with
concurrent writers. The least recently used entries are evicted for new ones. A failure of the
cache costs time but never stops a run.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.core.cache_folder import cache_dir
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.files.access import file_path, list_files
from imgrec_jax.data.sources.source import ArraySource

FORMAT = 2
"""Part of every key: increase it when decoding or the format of entries changes."""

DEFAULT_BYTES = 8 << 30

_TARGET = "target_"  # prefix of the names of targets, which may equal those of the other arrays
_DAY = 24 * 60 * 60

_logger = logging.getLogger(__name__)


def content_key(paths: Iterable[Path], *parts: object) -> str:
    """Return a key that changes with the data: 64 hexadecimal digits.

    The key depends on the name and the bytes of a file, or on the relative name, size and
    modification time of each file below a folder, except hidden ones. `parts` are options,
    distinguished by `repr`.
    """
    digest = hashlib.sha256(repr((FORMAT, parts)).encode("utf-8", "surrogateescape"))
    for path in paths:
        if path.is_dir():
            for line in _file_lines(path):
                digest.update(line.encode("utf-8", "surrogateescape"))
        else:
            digest.update(f"\n{path.name}\n".encode("utf-8", "surrogateescape"))
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def cached(key: str, make: Callable[[], dict[str, ArraySource]]) -> dict[str, ArraySource]:
    """Return the data set of this key from the cache, or make it and cache it.

    All splits have the same label names. At most `IMGREC_JAX_CACHE_BYTES` (8 GiB) are kept.
    A damaged entry is made again; a cache that cannot be written gives one warning.

    Raises:
        UsageError: `IMGREC_JAX_CACHE_BYTES` is not a number of bytes.
    """
    limit = _limit_bytes()
    try:
        entry = cache_dir() / "decoded" / key
    except RuntimeError as error:
        _warn(error)
        return make()
    splits = _load(entry)
    if splits is None:
        splits = make()
        try:
            _store(entry, splits, limit)
        except OSError as error:
            _warn(error)
    return splits


def _load(entry: Path) -> dict[str, ArraySource] | None:
    """Return the entry's data set; None if it is missing or incomplete."""
    if not entry.is_dir():
        return None
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        label_names = tuple(meta["label_names"])
        splits = {
            split: _source(
                {
                    name: _load_array(entry / f"{split}_{name}.npy", checksums[name])
                    for name in checksums
                },
                label_names,
                meta.get("facts", {}).get(split, {}),
            )
            for split, checksums in meta["checksums"].items()
        }
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        shutil.rmtree(entry, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # another user's cache may be read-only
        os.utime(entry / "meta.json")  # just used: the last to be removed
    return splits


def _source(
    arrays: dict[str, np.ndarray], label_names: tuple[str, ...], facts: dict[str, Any]
) -> ArraySource:
    images, labels = arrays.pop("images"), arrays.pop("labels")
    targets = {name.removeprefix(_TARGET): array for name, array in arrays.items()}
    return ArraySource(images, labels, label_names, targets=targets, facts=facts)


def _load_array(path: Path, checksum: int) -> np.ndarray:
    array = np.load(path, allow_pickle=False)
    if zlib.crc32(array.data) != checksum:
        raise ValueError(f"{path} is damaged")
    return array


def _store(entry: Path, splits: dict[str, ArraySource], limit: int) -> None:
    arrays = {
        split: {
            "images": np.ascontiguousarray(s.images),
            "labels": np.ascontiguousarray(s.labels),
            **{_TARGET + name: np.ascontiguousarray(array) for name, array in s.targets.items()},
        }
        for split, s in splits.items()
    }
    need = sum(array.nbytes for named in arrays.values() for array in named.values())
    if need > limit:
        raise OSError(f"{need:,} bytes are needed, IMGREC_JAX_CACHE_BYTES allows {limit:,}")
    entry.parent.mkdir(parents=True, exist_ok=True)
    _make_room(entry.parent, limit - need)
    free = shutil.disk_usage(entry.parent).free
    if need > free:
        raise OSError(f"{need:,} bytes are needed, {free:,} are free on its disk")
    meta = {
        "label_names": next(iter(splits.values())).label_names,
        "checksums": {
            split: {name: zlib.crc32(array.data) for name, array in named.items()}
            for split, named in arrays.items()
        },
        "facts": {split: dict(source.facts) for split, source in splits.items()},
    }
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=entry.parent))
    try:
        for split, named in arrays.items():
            for name, array in named.items():
                np.save(draft / f"{split}_{name}.npy", array, allow_pickle=False)
        text = json.dumps(meta, ensure_ascii=False)
        (draft / "meta.json").write_text(text, encoding="utf-8")
        _rename(draft, entry)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _rename(draft: Path, entry: Path) -> None:
    try:
        draft.rename(entry)
    except OSError:
        if not entry.is_dir():  # if it is one, another process was faster: use its entry
            raise


def _make_room(root: Path, allowed: int) -> None:
    """Remove stale partial entries, then the least recently used until `allowed` bytes remain."""
    kept: list[tuple[float, Path, int]] = []
    for folder in root.iterdir():
        with contextlib.suppress(OSError):  # another process may be removing it
            used = max(folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.iterdir()))
            if not folder.name.startswith(".draft-"):
                kept.append((used, folder, sum(f.stat().st_size for f in folder.iterdir())))
            elif used < time.time() - _DAY:
                shutil.rmtree(folder, ignore_errors=True)
    total = sum(size for _, _, size in kept)
    for _, folder, size in sorted(kept):
        if total > allowed:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def _file_lines(root: Path) -> Iterable[str]:
    for name in sorted(list_files(root)):
        if not name.rpartition("/")[2].startswith("."):
            status = file_path(root, name).stat()
            yield f"\n{name} {status.st_size} {status.st_mtime_ns}"


def _limit_bytes() -> int:
    text = os.environ.get("IMGREC_JAX_CACHE_BYTES", str(DEFAULT_BYTES))
    if not text.isdecimal():
        raise UsageError(
            f"expected a number of bytes in IMGREC_JAX_CACHE_BYTES, got '{text}'; "
            f"try {DEFAULT_BYTES}"
        )
    return int(text)


def _warn(error: Exception) -> None:
    _logger.warning(
        "the decoded images are not cached: %s; try IMGREC_JAX_CACHE=FOLDER with another folder",
        error,
    )
