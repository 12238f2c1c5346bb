import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from small import on, some_images, train_small

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.best import Selection, read_selection
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.step.parallel import choose, fetch, savable


def state(step, value=1.0):
    leaf = np.full((2, 3), value, np.float32)
    return TrainState(
        np.int32(step), {"w": leaf}, {"stats": leaf + 1}, ({"m": leaf + 2}, np.int32(7)), {}
    )


def test_a_state_comes_back_bit_for_bit(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state(5, np.pi), {"labels": ["猫"], "x": 0.1}, {})
    with Checkpoints(tmp_path / "c") as checkpoints:
        restored, meta = checkpoints.restore_newest(state(0))
    np.testing.assert_array_equal(restored.params["w"], state(5, np.pi).params["w"])
    np.testing.assert_array_equal(restored.opt_state[0]["m"], state(5, np.pi).opt_state[0]["m"])
    assert int(restored.step) == 5
    assert int(restored.opt_state[1]) == 7
    assert isinstance(restored, TrainState)
    assert meta == {"labels": ["猫"], "x": 0.1}


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.restore_newest(state(0)) is None


def test_the_newest_and_the_best_are_kept(tmp_path):
    with Checkpoints(tmp_path / "c", keep=2, best=Selection("val_accuracy", 1)) as checkpoints:
        for step, score in enumerate([0.1, 0.9, 0.3, 0.2, 0.5], start=1):
            checkpoints.save(state(step), {}, {"val_accuracy": score})
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        assert checkpoints.steps == [2, 4, 5]


def test_the_lowest_may_be_the_best(tmp_path):
    lowest = read_selection("-loss", "accuracy")
    with Checkpoints(tmp_path / "c", keep=1, best=lowest) as checkpoints:
        for step, loss in enumerate([0.5, 0.1, 0.3], start=1):
            checkpoints.save(state(step), {}, {"val_loss": loss, "val_accuracy": loss})
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        assert checkpoints.steps == [2, 3]
    with pytest.raises(UsageError, match=r"got 'los'; did you mean 'loss'\?; try one of loss,"):
        read_selection("-los", "accuracy").value({"val_loss": 1.0, "val_accuracy": 0.5, "step": 3})


def test_without_a_best_only_the_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        for step in range(1, 5):
            checkpoints.save(state(step), {}, {"test_accuracy": 1.0 / step})
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        assert checkpoints.steps == [3, 4]


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_taken(tmp_path, caplog):
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        checkpoints.save(state(1), {"n": 1}, {})
        checkpoints.save(state(2), {"n": 2}, {})
    shutil.rmtree(tmp_path / "c" / "2" / "state")
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        restored, meta = checkpoints.restore_newest(state(0))
    assert int(restored.step) == 1
    assert meta == {"n": 1}
    assert str(tmp_path / "c" / "2") in caplog.text


def test_where_all_are_damaged_the_run_does_not_start_over(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state(1), {}, {})
    shutil.rmtree(tmp_path / "c" / "1" / "state")
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(UserError, match="got only damaged ones"),
    ):
        checkpoints.restore_newest(state(0))


def test_another_shape_is_refused(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state(1), {}, {})
        other = state(0).replace(params={"w": np.zeros((4, 3), np.float32)})
        with pytest.raises(UsageError) as caught:
            checkpoints.restore_newest(other)
    assert ".params['w']: float32[2,3] in the checkpoint, float32[4,3] here" in str(caught.value)
    assert "opt_state" not in str(caught.value)


def test_no_flipped_bit_goes_unseen(tmp_path):
    """In a process of its own, for the noise that TensorStore makes about reads that fail."""
    program = Path(__file__).with_name("flipped_bits.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path / "c"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    detected, flipped = map(int, done.stdout.split())
    assert flipped >= 20
    assert detected >= 10  # many of the small files are never read


LAYOUTS = {
    "single": lambda: on(1),
    "pmap 2": lambda: on(2),
    "pmap 8": lambda: on(8),
    "shard_map 8": lambda: choose("shard_map", jax.devices()),
    "mesh 4 x 2": lambda: choose("mesh", jax.devices(), fsdp=2),
    "mesh 2 x 4": lambda: choose("mesh", jax.devices(), fsdp=4),
}


@pytest.mark.parametrize("saved_on", ["pmap 8", "shard_map 8", "mesh 2 x 4"])
def test_a_checkpoint_does_not_know_its_devices(tmp_path, saved_on):
    settings = {"batch_size": 16, "batch_norm": True, "width": 512, "ema_decay": 0.9}
    made, _, _ = train_small(
        some_images(16), layout=LAYOUTS[saved_on](), steps=1, fetched=False, **settings
    )
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(savable(made), {}, {})
    saved = fetch(made)
    for name, layout in LAYOUTS.items():
        with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
            restored, _ = checkpoints.restore_newest(saved)
        placed = layout().place(restored)
        for one, other in zip(jax.tree.leaves(placed), jax.tree.leaves(saved), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


def test_orbax_is_asked_for_nothing_that_its_docs_call_deprecated(tmp_path, monkeypatch):
    """Arguments by Orbax's own docstrings, and what it counts as an old form while it runs."""
    passed = {}

    def note(kind):
        made = getattr(ocp, kind)

        def make(*arguments, **named):
            passed[kind] = set(named)
            return made(*arguments, **named)

        monkeypatch.setattr(ocp, kind, make)
        about = f"{made.__doc__}\n{made.__init__.__doc__}"
        return set(re.findall(r"^\s*(\w+):\s+(?:Optional\. )?deprecated", about, re.M | re.I))

    old = {kind: note(kind) for kind in ("CheckpointManager", "CheckpointManagerOptions")}
    events = []

    def on_event(name, **about):
        events.append(name)

    jax.monitoring.register_event_listener(on_event)
    try:
        with Checkpoints(tmp_path / "c", best=Selection("val_accuracy", 1)) as checkpoints:
            checkpoints.save(state(1), {}, {"val_accuracy": 1.0})
            checkpoints.wait()
            checkpoints.restore(1, state(0))
            checkpoints.restore_tree(1)
    finally:
        jax.monitoring.unregister_event_listener(on_event)
    assert all(old.values())  # the docstrings were understood
    assert {kind: passed[kind] & old[kind] for kind in old} == {kind: set() for kind in old}
    assert any(name.startswith("/jax/orbax/") for name in events)
    assert [name for name in events if "deprecat" in name] == []
