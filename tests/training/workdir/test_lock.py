import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

import imgrec_jax
from imgrec_jax.core.errors import UserError
from imgrec_jax.training.workdir.lock import workdir_lock

HOLD = """
import sys
from pathlib import Path
from imgrec_jax.training.workdir.lock import workdir_lock
with workdir_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


FORK = """
import os, sys
from pathlib import Path
from imgrec_jax.training.workdir.lock import workdir_lock
with workdir_lock(Path(sys.argv[1])):
    worker = os.fork()
    if worker == 0:
        sys.stdin.read()
        os._exit(0)
with workdir_lock(Path(sys.argv[1])):
    print("held again")
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_name_and_a_dead_one_holds_nothing(tmp_path, holder):
    with pytest.raises(UserError) as caught, workdir_lock(tmp_path):
        pass
    message = str(caught.value)
    assert f"process {holder.pid} on {socket.gethostname()} (since " in message
    assert str(tmp_path) in message
    assert "--workdir" in message
    assert len(message.splitlines()) == 1
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    left = json.loads((tmp_path / ".lock").read_text(encoding="utf-8"))
    assert left["pid"] == holder.pid
    with workdir_lock(tmp_path):
        own = json.loads((tmp_path / ".lock").read_text(encoding="utf-8"))
        assert own["pid"] == os.getpid()
    assert (tmp_path / ".lock").read_text(encoding="utf-8") == ""


def test_training_takes_the_lock_before_all_else(tmp_path, holder):
    config = imgrec_jax.get_config("digits")
    with pytest.raises(UserError, match=f"process {holder.pid} on "):
        imgrec_jax.train(config, tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name != "imgrec_jax_cache"] == [".lock"]


def test_two_in_one_process_are_two(tmp_path):
    with (
        workdir_lock(tmp_path),
        pytest.raises(UserError, match=f"process {os.getpid()} on"),
        workdir_lock(tmp_path),
    ):
        pass
    with workdir_lock(tmp_path):
        pass


def test_a_worker_that_lives_on_keeps_nothing(tmp_path):
    """A forked process shares the open file, and with it the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held again\n"


def test_a_holder_that_has_not_written_its_name_yet(tmp_path):
    with workdir_lock(tmp_path):
        (tmp_path / ".lock").write_text("", encoding="utf-8")
        with pytest.raises(UserError, match="where another process is training"):
            workdir_lock(tmp_path).__enter__()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with workdir_lock(tmp_path):
        assert "no locks on the file system" in caplog.text
