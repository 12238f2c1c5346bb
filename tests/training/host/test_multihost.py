"""Two processes of four devices each, over loopback: the same run as one device."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small import AUGMENT, on, small_task, some_images, train_small

from imgrec_jax.build.batches import one_pass
from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.host import lost_peers as module
from imgrec_jax.training.host.lost_peers import lost_peers
from imgrec_jax.training.host.multihost import join
from imgrec_jax.training.host.signals import Interrupted
from imgrec_jax.training.step.compiled_steps import EvalProgram

PROGRAM = Path(__file__).with_name("one_of_two_processes.py")


def free_port():
    """Return a port below those that systems hand out by themselves, to anyone, meanwhile."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def start(command):
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.fixture(scope="module")
def alone():
    """What one device makes of the same."""
    settings = {"batch_norm": True, "width": 8}
    state, sums, _ = train_small(
        some_images(19), batch_size=16, steps=3, augment=AUGMENT, mixing=True, **settings
    )
    layout = on(1)
    task = small_task(layout, **settings)
    placed = layout.place((state.params, state.model_state))
    batches = one_pass(some_images(101), 32, layout)
    scored = evaluate(EvalProgram(task, layout), task.compute_metrics, *placed, batches)
    return state, sums, scored


@pytest.mark.parametrize(
    ("mode", "fsdp"),
    [
        ("pmap", 1),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("shard_map", 1), ("mesh", 1), ("mesh", 8))
        ),
    ],
)
def test_two_processes_are_one_run(mode, fsdp, alone, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    children = [start([PROGRAM, f"{address},{i}/2", mode, fsdp, tmp_path]) for i in range(2)]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], "\n".join(errors)

    state, sums, scored = alone
    results = [np.load(tmp_path / f"process{i}.npz") for i in range(2)]
    expected = jax.tree.leaves((state.params, state.model_state))
    for result in results:
        for i, leaf in enumerate(expected):
            np.testing.assert_allclose(result[f"arr_{i}"], leaf, rtol=1e-5, atol=1e-6)
        assert result["correct"].tolist() == [int(s["correct"]) for s in sums]
        np.testing.assert_array_equal(result["confusion"], scored.sums["confusion"])
        np.testing.assert_array_equal(result["labels"], some_images(101).labels)
        np.testing.assert_array_equal(result["predictions"], scored.rows["prediction"])
        assert result["traces"] == 1
        assert result["processes"] == 2
        assert result["stops"].tolist() == [True, False]
    # What two processes have saved, this one restores.
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        restored, _ = checkpoints.restore(3, state)
    for one, other in zip(
        jax.tree.leaves((restored.params, restored.model_state)), expected, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    # Each reads its half, and together they read all.
    assert [r["columns"].tolist() for r in results] == [list(range(8)), list(range(8, 16))]
    assert results[0]["shard"].tolist() == [3, 3, 3, 8 // fsdp]


def train_in_two(workdir, epochs):
    address = f"127.0.0.1:{free_port()}"
    return [
        start(
            [
                "-m",
                "imgrec_jax.main",
                "--config=digits",
                f"--workdir={workdir}",
                f"--config.epochs={epochs}",
                "--config.parallel.cpu_devices=1",
                f"--config.parallel.multihost={address},{i}/2",
            ]
        )
        for i in range(2)
    ]


def until_saved(workdir, child):
    """Wait for the first checkpoint: no fixed time, and no longer than the process lives."""
    while not (workdir / "checkpoints" / "23").is_dir():
        assert child.poll() is None, child.communicate()[1]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])  # SIGSTOP: without a word
def test_a_lost_process_ends_the_run(end, lost, tmp_path):
    children = train_in_two(tmp_path, epochs=500)
    until_saved(tmp_path, children[0])
    children[lost].send_signal(end)
    errors = children[1 - lost].communicate()[1]
    children[lost].kill()
    children[lost].communicate()
    assert children[1 - lost].returncode == 1, errors
    assert f"imgrec_jax: process {1 - lost} of 2 lost another process (" in errors


@pytest.mark.slow
def test_after_a_lost_process_the_run_goes_on_and_stops_in_all(tmp_path):
    run = tmp_path / "run"
    first, second = train_in_two(run, epochs=500)
    until_saved(run, first)
    second.kill()
    for child in (first, second):
        child.communicate()

    # A longer run would need --resume=accept-changes: only its end is moved.
    children = train_in_two(run, epochs=500)
    until_saved(run, children[0])
    lines = iter(children[0].stdout)
    assert any("resumed" in line for line in lines)
    assert any(line.startswith("epoch") for line in lines)  # both take steps by now
    children[1].send_signal(signal.SIGTERM)  # in one, and both stop at the same step
    outputs = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [75, 75], outputs
    assert "Stopped at step" in outputs[0][0]
    assert "Stopped" not in outputs[1][0]


def test_a_failed_process_leaves_at_once(monkeypatch, capsys):
    """A normal exit would wait for the others, which wait for this one."""

    def leave(status):
        raise SystemExit(status)

    monkeypatch.setattr("os._exit", leave)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(module, "_print_line_on_abort", lambda: None)
    with pytest.raises(SystemExit, match="1"), lost_peers():
        raise KeyError("a bug")
    err = capsys.readouterr().err
    assert "KeyError: 'a bug'" in err
    assert err.endswith("imgrec_jax: process 0 of 2 failed\n")
    with pytest.raises(Interrupted), lost_peers():
        raise Interrupted(3)


@pytest.mark.parametrize("where", ["yes", "host:1,2/2", "host,0/2", "host:1,0"])
def test_an_address_that_cannot_be_read_is_refused(where):
    with pytest.raises(UsageError, match=r"HOST:PORT,ID/COUNT .* try --config.parallel.multihost="):
        join(where)
