"""TensorBoard event files, written without TensorFlow and without threads."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2 as generated
from tensorboardX.summary import scalar

event_pb2: Any = generated  # its classes are made at run time


class Events:
    """One event file in a folder.

    tensorboardX's own SummaryWriter hands events to a thread, whose errors nobody can catch.

    Args:
        folder: where TensorBoard looks.
        first_step: later steps of earlier files of the folder are taken back by TensorBoard.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._writer = EventsWriter(str(folder / "events"))
        if first_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(first_step + 1, session_log=start)

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        """Add scores at a step; `train_loss` appears as `train/loss`."""
        for name, value in scores.items():
            split, _, score = name.partition("_")
            tag = f"{split}/{score}" if split in {"train", "val", "test"} else name
            self._write(step, summary=scalar(tag, value))
        self._writer.flush()

    def close(self) -> None:
        """Close the file; on a full disk what is not written yet is given up."""
        for _ in range(2):  # the first try may fail to write, the second has nothing left to
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()

    def _write(self, step: int, **content: object) -> None:
        self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=step, **content))
