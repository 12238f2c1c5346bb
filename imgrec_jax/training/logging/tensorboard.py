"""TensorBoard event files, written without TensorFlow and without threads."""

import contextlib
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2 as generated_events
from tensorboardX.proto import summary_pb2 as generated_summaries

from imgrec_jax.training.step.histograms import Histogram

event_pb2: Any = generated_events  # their classes are created at run time
summary_pb2: Any = generated_summaries


class Events:
    """One event file in a folder.

    tensorboardX's SummaryWriter passes events to a thread, whose errors cannot be caught.

    Args:
        folder: the folder that TensorBoard reads.
        first_step: TensorBoard discards later steps of earlier files of the folder.
        suffix: of the file name, to distinguish files written within one second.
    """

    def __init__(self, folder: Path, first_step: int = 0, suffix: str = "") -> None:
        self._writer = EventsWriter(str(folder / "events"), suffix)
        self._end: Any = None
        if first_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(first_step + 1, session_log=start)

    def settings(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> None:
        """Add the config as text, and the hyperparameters to the HParams page."""
        indented = json.dumps(config, indent=2, ensure_ascii=False).replace("\n", "\n    ")
        self._write(0, summary=summary.text("config", f"    {indented}"))  # a Markdown code block
        _, start, self._end = summary.hparams(dict(hyperparameters), {})
        self._write(0, summary=start)
        self._writer.flush()

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Add scores at a step."""
        for name, value in scores.items():
            self._write(step, summary=summary.scalar(name, value))
        self._writer.flush()

    def histograms(self, step: int, found: Mapping[str, Histogram]) -> None:
        """Add histograms at a step."""
        for name, h in found.items():
            edges = np.linspace(h.low, h.high, len(h.counts) + 1)[1:]
            count = int(h.counts.sum())
            self._write(
                step,
                summary=summary.histogram_raw(
                    name,
                    float(h.low),
                    float(h.high),
                    count,
                    float(h.sum),
                    float(h.squares),
                    edges.tolist(),
                    h.counts.tolist(),
                ),
            )
        self._writer.flush()

    def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Add images uint8[h, w, 3] at a step."""
        from PIL import Image

        for name, pixels in images.items():
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "png")
            height, width, channels = pixels.shape
            image = summary_pb2.Summary.Image(
                height=height,
                width=width,
                colorspace=channels,
                encoded_image_string=file.getvalue(),
            )
            value = summary_pb2.Summary.Value(tag=name, image=image)
            self._write(step, summary=summary_pb2.Summary(value=[value]))
        self._writer.flush()

    def finish(self) -> None:
        """Mark the run as finished on the HParams page."""
        self._write(0, summary=self._end)
        self._writer.flush()

    def close(self) -> None:
        """Close the file; on a full disk, unwritten data is dropped."""
        for _ in range(2):  # the first try may fail to write, the second has nothing left to write
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()

    def _write(self, step: int, **content: object) -> None:
        self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=step, **content))
