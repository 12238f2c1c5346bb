"""Ctrl-C at some moments of each command: one line and status 75, and no process is left."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LINES = (
    "Stopped. The same command resumes what is saved, or starts again.",
    "Stopped. The same command resumes it.",
    "Stopped and saved. The same command resumes it.",
    "saved. The same command resumes it.",
)
LONG = "--config.epochs=100000"
COMMANDS = {
    "train": ["train", "--config=digits", "--workdir={out}", LONG],
    "sweep": ["sweep", "--config=digits", "--workdir={out}", "--backend=local", LONG],
    "vmap": ["sweep", "--config=digits", "--workdir={out}", "--backend=vmap", LONG],
    "inspect": ["data", "inspect", "digits", "--out={out}"],
    "pack": ["data", "pack", "digits", "--out={out}", "--shards=50"],
    "evaluate": ["evaluate", "{run}"],
    "probe": ["probe", "{run}"],
    "report": ["report", "{run}"],
}
MOMENTS = (0.5, 1.0, 2.0, 4.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    command = ["train", "--config=digits", "--config.epochs=1", f"--workdir={workdir}"]
    subprocess.run([sys.executable, "-m", "imgrec_jax", *command], check=True, capture_output=True)
    return workdir


def living(group):
    """The processes of a group that have not ended; they may not have been waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group, *_ = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(its_group) == group and state not in "ZX":
                found.append(stat.parent.name)
    return found


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_in_one_line(name, moment, run, tmp_path):
    words = [word.format(run=run, out=tmp_path / "out") for word in COMMANDS[name]]
    with subprocess.Popen(
        [sys.executable, "-m", "imgrec_jax", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # with its workers, as in a terminal
    ) as process:
        try:
            out, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate()
            if process.returncode == 0:  # it had finished, and keeps its own status
                assert out.strip()
            else:
                assert process.returncode == 75, err
                assert (out + err).strip().endswith(LINES)
        else:  # the machine is that quick
            assert process.returncode == 0, err
    assert "Traceback" not in out + err
    assert living(process.pid) == []
