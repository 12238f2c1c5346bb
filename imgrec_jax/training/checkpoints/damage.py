"""Keep damage to Orbax's files from crashing Orbax, and its threads from printing tracebacks."""

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

_METADATA, _SCORES = "_CHECKPOINT_METADATA", "metrics/metrics"
_KINDS: dict[str, type] = {
    "item_handlers": dict,
    "metrics": dict,
    "performance_metrics": dict,
    "init_timestamp_nsecs": int,
    "commit_timestamp_nsecs": int,
    "custom_metadata": dict,
}
"""Values of Orbax's metadata; any may be null."""

_LATE = "Event loop is closed"
_RETRIEVED = "exception was never retrieved"


def silence_orbax() -> None:
    """Keep Orbax from logging each step of a save, and each error that it also raises.

    When one array of a checkpoint cannot be read, reads of the others end after Orbax has closed
    their event loop; each would print a traceback from a thread of TensorStore.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_is_news)  # adding it again changes nothing
    if not isinstance(sys.unraisablehook, _WithoutLateReads):
        sys.unraisablehook = _WithoutLateReads(sys.unraisablehook)


def damaged_metadata(folder: Path) -> list[Path]:
    """Return the files that Orbax reads of each checkpoint in a folder, and could not read.

    They hold times, and the scores by which the best checkpoint is kept.
    """
    times = [path for path in folder.glob(f"[0-9]*/{_METADATA}") if not _are_times(_json(path))]
    scores = [path.parent / _SCORES for path in folder.glob("[0-9]*/metrics")]
    return times + [path for path in scores if not _are_scores(_json(path))]


def repair_metadata(path: Path) -> None:
    """Write scores again from the metadata of the checkpoint; remove what cannot be written."""
    meta = _json(path.parents[1] / "meta" / "metadata")
    scores = meta.get("metrics") if isinstance(meta, dict) else None
    if path.name == _METADATA:
        path.unlink(missing_ok=True)
    elif scores and _are_scores(scores):
        path.write_text(json.dumps(scores), encoding="utf-8")
    else:
        shutil.rmtree(path.parent, ignore_errors=True)


def _json(path: Path) -> Any:
    """Return the content of a JSON file, or None if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _are_times(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(key), kind | None) for key, kind in _KINDS.items()
    )


def _are_scores(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(score, int | float) for score in content.values()
    )


def _is_news(record: logging.LogRecord) -> bool:
    return _RETRIEVED not in record.getMessage()


class _WithoutLateReads:
    """A hook for exceptions of threads that ignores those of late reads."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == _LATE):
            self._hook(unraisable)
