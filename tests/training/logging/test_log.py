"""What a training shows: a bar on a terminal, whole lines in a file, no colours anywhere."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
from types import SimpleNamespace

import pytest

from imgrec_jax.training.logging import log as module
from imgrec_jax.training.logging.log import Log
from imgrec_jax.training.workdir.files import Workdir

SCORES = {
    "train_loss": 0.123456,
    "train_pixel_accuracy": 0.9,
    "learning_rate": 0.1,
    "images_per_second": 12345.6,
}


def logged(folder):
    """Log a step in the middle of a run, and an evaluation at the end."""
    log = Log(Workdir(folder), first_step=0, total_steps=100, steps_per_epoch=50, wandb=False)
    with contextlib.closing(log):
        log.train(50, SCORES)
        log.evaluation(100, {"test_loss": 0.5, "test_miou": 0.25})


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_has_a_bar_that_fits(tmp_path, monkeypatch, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    monkeypatch.setenv("COLUMNS", str(columns))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        logged(tmp_path)
        terminal.flush()
        written = b""
        while select.select([ours], [], [], 0)[0]:  # a terminal may hand it over in parts
            written += os.read(ours, 100_000)
    seen = written.decode()
    os.close(ours)
    assert not re.search(r"\x1b\[[0-9;]*m", seen)
    frames = [frame for frame in re.split(r"[\r\n]+", seen) if frame.strip()]
    assert max(map(len, frames)) <= columns
    # It may be drawn again a second later, with another time.
    bar = next(frame for frame in frames if frame.startswith("epoch 1 ") and "50%" in frame)
    length, shown = re.fullmatch(r"epoch 1  50%\|(.*)\| \S+<\S+, (.*)", bar).groups()
    assert len(length) >= 15
    scores = "train loss 0.1235" + " pixel_accuracy 0.9000" * (columns == 120)
    assert shown == f"{scores}, 12,346 images/s"
    assert any(frame.rstrip() == "epoch   2  test loss 0.5000 miou 0.2500" for frame in frames)


def test_a_file_gets_whole_lines_now_and_then(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=iter([0.0, 21.0, 21.0]).__next__))
    log = Log(Workdir(tmp_path), first_step=0, total_steps=1000, steps_per_epoch=50, wandb=False)
    with contextlib.closing(log):
        log.train(50, SCORES)
    out, err = capfd.readouterr()
    line = "step 50/1,000  train loss 0.1235 pixel_accuracy 0.9000, 12,346 images/s\n"
    assert (out, err) == (line, "")
