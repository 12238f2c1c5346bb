"""The loop with everything on that could make a resumed run another one."""

import dataclasses
import errno
import functools
import itertools
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from small import AUGMENT, initial_state, on, small_task, some_images

from imgrec_jax.build.batches import one_pass
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.training import evaluate as evaluation
from imgrec_jax.training import loop
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.experiment import Data, Events, Experiment, Outputs, Step
from imgrec_jax.training.host.signals import Interrupted
from imgrec_jax.training.run import run
from imgrec_jax.training.step import compiled_steps, parallel
from imgrec_jax.training.workdir.files import Workdir

CONFIG = {"seed": 0}


def experiment(**changes):
    """19 images in batches of 8 (3 steps an epoch), with all that could go on differently.

    BatchNorm, dropout, augmentation, mixup, micro-batches, a schedule and averaged weights.
    """
    devices = on(changes.pop("devices", 1))
    task = small_task(devices, batch_norm=True, dropout=0.3, augment=AUGMENT, mixing=True)
    schedule = optax.linear_schedule(0.1, 0.0, 12)
    optimizer = optax.adam(schedule)
    splits = {"test": some_images(11, seed=1)}
    made = Experiment(
        step=Step(
            task=task,
            optimizer=optimizer,
            parallel=devices,
            steps_per_call=1,
            micro_batches=2,
            ema_decay=0.9,
            matmul_precision="highest",
        ),
        data=Data(
            train=TrainBatches(some_images(19), 8, seed=5, partners=True),
            passes={k: functools.partial(one_pass, v, 4, devices) for k, v in splits.items()},
            resident={},
            fingerprint=lambda: "images",
        ),
        events=Events(
            epochs=4,
            eval_every=1,
            log_every=2,
            histograms_every=0,
            save_every=1,
            save_minutes=0.0,
            stop_unsaved=False,
            keep=50,
        ),
        outputs=Outputs(facts={}, card={}, selection=Selection("val_accuracy", 1)),
        seed=3,
        schedule=schedule,
        init=jax.jit(functools.partial(initial_state, task, optimizer, True)),
        warm_start=lambda state, print_line: state,
    )
    return changed(made, changes)


def changed(made, changes):
    """Return an experiment with other values of its records' fields, by name."""
    for name, value in changes.items():
        parts = [
            part
            for part in ("step", "data", "events", "outputs")
            if hasattr(getattr(made, part), name)
        ]
        if not parts:
            made = dataclasses.replace(made, **{name: value})
            continue
        record = dataclasses.replace(getattr(made, parts[0]), **{name: value})
        made = dataclasses.replace(made, **{parts[0]: record})
    return made


def silent(_line):
    """Say nothing."""


def train(folder, made):
    return run(CONFIG, Workdir(folder), lambda: made, print_line=silent).result


def final_state(folder, made):
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore(checkpoints.steps[-1], made.init())[0]


def events(folder):
    rates = {"images_per_second"}
    return [
        {k: v for k, v in event.items() if k not in rates}
        for event in Workdir(folder).read_metrics()
    ]


@contextmanager
def stopping_after(calls):
    """Stand in for the signals: asked to stop after so many turns of the loop."""
    turns = iter(range(10_000))
    yield lambda: next(turns) >= calls


@pytest.mark.parametrize("steps_per_call", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(
    "turn", [2, *(pytest.param(turn, marks=pytest.mark.slow) for turn in (0, 1, 3))]
)
def test_a_run_stopped_anywhere_ends_as_the_one_that_was_not(
    tmp_path, monkeypatch, turn, steps_per_call
):
    made = experiment(steps_per_call=steps_per_call)
    train(tmp_path / "whole", made)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "stop_requests", lambda: stopping_after(turn))
        with pytest.raises(Interrupted):
            train(tmp_path / "stopped", made)
    result = train(tmp_path / "stopped", experiment(steps_per_call=steps_per_call))
    assert result["step"] == 12
    jax.tree.map(
        np.testing.assert_array_equal,
        final_state(tmp_path / "stopped", made),
        final_state(tmp_path / "whole", made),
    )
    assert events(tmp_path / "stopped") == events(tmp_path / "whole")
    assert [e["step"] for e in events(tmp_path / "whole") if e["kind"] == "eval"] == [3, 6, 9, 12]


def test_scores_come_every_few_epochs_and_at_the_end(tmp_path):
    train(tmp_path, experiment(eval_every=3))
    assert [e["step"] for e in events(tmp_path) if e["kind"] == "eval"] == [9, 12]


def test_the_best_step_is_saved_whatever_the_interval(tmp_path):
    layout = on(1)
    val = {"val": functools.partial(one_pass, some_images(30, seed=2), 30, layout)}
    made = experiment(passes=val, save_every=100, keep=1)
    result = train(tmp_path / "run", made)
    assert result["selected_on"] == "val_accuracy"
    assert result["optimistic_best_on_val"] == {
        "step": result["step"],
        "val_accuracy": result["metrics"]["val_accuracy"],
    }
    scores = {e["step"]: e["val_accuracy"] for e in events(tmp_path / "run") if "val_loss" in e}
    assert result["metrics"]["val_accuracy"] == max(scores.values())
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert result["step"] in checkpoints.steps
        assert 12 in checkpoints.steps


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    """The loss is measured before the update: the last update may be the one that fails."""
    made = experiment(optimizer=optax.sgd(1e38), epochs=1, save_every=1, micro_batches=1)
    with pytest.raises(UserError, match="expected a finite loss") as caught:
        train(tmp_path / "run", made)
    assert "last good checkpoint" in str(caught.value)
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        for step in checkpoints.steps:
            state, _ = checkpoints.restore(step, made.init())
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_longer_run_takes_the_old_result_away_until_it_is_finished(tmp_path, monkeypatch):
    train(tmp_path / "run", experiment())
    monkeypatch.setattr(loop, "stop_requests", lambda: stopping_after(0))
    longer = experiment(epochs=5)
    with pytest.raises(Interrupted):
        run(
            {**CONFIG, "epochs": 5},
            Workdir(tmp_path / "run"),
            lambda: longer,
            accept_changes=True,
            print_line=silent,
        )
    assert Workdir(tmp_path / "run").read_json("result.json") is None


def test_other_devices_and_other_data_are_told(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "stop_requests", lambda: stopping_after(0))
        with pytest.raises(Interrupted):
            train(tmp_path / "run", experiment())
    lines = []
    changed = experiment(devices=2, fingerprint=lambda: "others")
    run(CONFIG, Workdir(tmp_path / "run"), lambda: changed, print_line=lines.append)
    assert any("begun on 1 devices, now on 2" in line for line in lines)
    assert any("the data has changed since this run started" in line for line in lines)


def test_a_damaged_last_checkpoint_is_set_aside_and_made_again(tmp_path):
    made = experiment(save_every=3)
    train(tmp_path / "run", made)
    whole = final_state(tmp_path / "run", made)
    (tmp_path / "run" / "result.json").unlink()
    for file in (tmp_path / "run" / "checkpoints" / "12" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    train(tmp_path / "run", made)
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path / "run", made), whole)
    assert [p.name for p in (tmp_path / "run" / "damaged").iterdir()] == ["12_0"]


def test_host_and_devices_meet_twice_a_step(tmp_path, monkeypatch):
    """Batches go in, sums come back; only evaluating and saving read more."""
    calls = []

    def counted(where):
        def fetch(tree):
            calls.append(where)
            return parallel.fetch(tree)

        return fetch

    monkeypatch.setattr(loop, "fetch", counted("loop"))
    monkeypatch.setattr(evaluation, "fetch", counted("evaluate"))
    train(tmp_path / "run", experiment(save_every=6))
    # 12 steps; 2 saves ask whether all numbers are finite; 4 times 3 batches are scored.
    assert calls.count("loop") == 12 + 2
    assert calls.count("evaluate") == 12


@pytest.mark.parametrize(("minutes", "saved"), [(0.0, [12]), (0.5, [4, 8, 12])])
def test_saving_by_the_clock(tmp_path, monkeypatch, minutes, saved):
    """A clock that moves on by ten seconds whenever it is asked: once a step and once a save."""
    clock = itertools.count(0, 10)
    fake_time = SimpleNamespace(monotonic=lambda: next(clock), perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", fake_time)
    train(tmp_path / "run", experiment(save_every=12, save_minutes=minutes))
    steps = [int(child.name) for child in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(steps) == saved


@pytest.mark.slow
def test_a_killed_run_is_the_same_run():
    """The short form of a program that takes --kills=50."""
    program = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, program, "--kills=2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same as never interrupted" in done.stdout


def test_a_full_disk_in_the_middle_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    whole = train(tmp_path / "whole", experiment(save_every=3))
    failures = iter([OSError(errno.ENOSPC, "No space left on device"), None, None, None])

    def reserve(self, size):
        if (failure := next(failures)) is not None:
            raise failure

    monkeypatch.setattr(Checkpoints, "_reserve", reserve)
    result = train(tmp_path / "run", experiment(save_every=3))
    assert "No space left on device" in caplog.text
    assert "step 3 is not saved, training continues" in caplog.text
    steps = [int(child.name) for child in (tmp_path / "run" / "checkpoints").iterdir()]
    assert sorted(steps) == [6, 9, 12]
    assert result["metrics"] == whole["metrics"]


def test_a_full_disk_ends_the_run_where_that_is_asked_for(tmp_path, monkeypatch):
    def reserve(self, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Checkpoints, "_reserve", reserve)
    with pytest.raises(UserError, match="expected to write a checkpoint"):
        train(tmp_path / "run", experiment(save_every=3, stop_unsaved=True))


def test_the_last_state_must_be_saved(tmp_path, monkeypatch):
    def reserve(self, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Checkpoints, "_reserve", reserve)
    with pytest.raises(UserError, match="expected to write a checkpoint"):
        train(tmp_path / "run", experiment(save_every=100))
    assert Workdir(tmp_path / "run").read_json("result.json") is None


def test_a_device_out_of_memory_is_told_what_to_halve(tmp_path, monkeypatch):
    def exhausted(self, state, batch, root):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(compiled_steps.TrainProgram, "__call__", exhausted)
    with pytest.raises(UserError) as caught:
        train(tmp_path / "run", experiment(devices=2, micro_batches=2))
    assert "expected room for 2 examples on each device at once" in str(caught.value)
    assert "try --config.micro_batches=4" in str(caught.value)
