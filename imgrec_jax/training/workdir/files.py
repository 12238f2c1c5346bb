"""The folder of a run: its files, and atomic writes."""

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.nested import with_new_names
from imgrec_jax.core.sealed_json import parse_object, seal

_LOGGER = logging.getLogger(__name__)
_KINDS = frozenset({"train", "eval"})  # of logged events
_CONFIG, _RESULT = "config.json", "result.json"
_RESULT_KINDS = {"status": str, "metrics": dict}
"""Values of a result; one of an earlier version has no digest."""


class Workdir:
    """Paths and files of one run.

    config.json, checkpoints/<step>/, metrics.jsonl (a line per log event), TensorBoard events,
    result.json (written once, at the end) and report.html.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if "://" in str(path):
            raise UsageError(
                f"expected a folder, got {path}, and buckets are not written to directly; "
                "try to mount it (gcsfuse, s3fs) and give the folder"
            )
        try:
            self.path = Path(path).expanduser().absolute()
        except RuntimeError as error:  # ~ of an unknown user
            raise UsageError(
                f"expected a folder, got {path} ({error}); try a plain path"
            ) from error
        self.checkpoints = self.path / "checkpoints"
        self._metrics = self.path / "metrics.jsonl"

    def create(self) -> None:
        """Create the folder, and check that it is writable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".write_test"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)  # several processes may do this at once
        except OSError as error:
            raise UserError(
                f"expected a folder that can be written to, got {self.path} "
                f"({error.strerror}); try another --workdir"
            ) from error

    def has_checkpoints(self) -> bool:
        """Return whether any step has been saved here."""
        folder = self.checkpoints
        return folder.is_dir() and any(child.name.isdecimal() for child in folder.iterdir())

    def remove(self, name: str) -> None:
        """Remove a file of the run, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def read_config(self) -> dict[str, Any] | None:
        """Return the config of the run with current key names, or None if there is none.

        Raises:
            UserError: it is damaged.
        """
        config = self.read_json(_CONFIG)
        if config == {}:
            raise _damaged(self.path / _CONFIG, "an empty object")
        return None if config is None else with_new_names(config)

    def read_result(self) -> dict[str, Any] | None:
        """Return the result of the run, or None if it is not finished.

        Raises:
            UserError: it is damaged.
        """
        result = self.read_json(_RESULT)
        if result is not None:
            for key, kind in _RESULT_KINDS.items():
                if not isinstance(result.get(key), kind):
                    raise _damaged(self.path / _RESULT, f"{result.get(key)} as its '{key}'")
        return result

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the run, or None if it does not exist.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / name
        try:
            return parse_object(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error

    def read_notes(self, name: str) -> dict[str, Any]:
        """Return a JSON file that a run can do without; empty if it is missing or damaged."""
        try:
            return self.read_json(name) or {}
        except UserError as error:
            _LOGGER.warning("%s", error)
            return {}

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file with a digest of its content, atomically."""
        text = json.dumps(seal(_finite(content)), indent=2, ensure_ascii=False) + "\n"
        self.write_text(name, text)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically."""
        _write_whole(self.path / name, text)

    def append_metrics(self, event: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        with (
            as_user_errors(self._metrics),
            self._metrics.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(_finite(event), ensure_ascii=False) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the logged events in order.

        A last line truncated by a crash is omitted; damaged lines are omitted with a warning.
        """
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_bytes().split(b"\n")[:-1]
        events = [event for line in lines if (event := _event(line))]
        if len(events) < len(lines):
            _LOGGER.warning(
                "%s is damaged: %d of its %d lines are left out",
                *(self._metrics, len(lines) - len(events), len(lines)),
            )
        return events

    def forget_metrics_after(self, step: int, scores: Mapping[str, float] | None = None) -> None:
        """Drop logged events later than `step`, which a resumed run will write again.

        Args:
            step: of the checkpoint from which it resumes.
            scores: that the checkpoint holds; an evaluation that is missing is written again.
        """
        events = [event for event in self.read_metrics() if event["step"] <= step]
        if scores and not any((e["kind"], e["step"]) == ("eval", step) for e in events):
            events.append({"kind": "eval", "step": step, **scores})
        self.write_metrics(events)

    def write_metrics(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite metrics.jsonl atomically."""
        lines = [json.dumps(_finite(event), ensure_ascii=False) + "\n" for event in events]
        _write_whole(self._metrics, "".join(lines))


def _damaged(path: Path, got: object) -> UserError:
    return UserError(
        f"expected {path} as the run has written it, got {got}; "
        "try the training command again, which writes it anew"
    )


def _event(line: bytes) -> dict[str, Any] | None:
    """Return a logged event, or None for a damaged line."""
    try:
        event = parse_object(line)
    except ValueError:
        return None
    return event if type(event.get("step")) is int and event.get("kind") in _KINDS else None


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with as_user_errors(path):
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


@contextmanager
def as_user_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a quota or a missing permission into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"expected to write {path}, got '{error.strerror}'; "
            "try again with room on the disk: the run resumes from its last checkpoint"
        ) from error


def _finite(value: Any) -> Any:
    """Return `value` with null for NaN and infinities, which JSON cannot represent."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
