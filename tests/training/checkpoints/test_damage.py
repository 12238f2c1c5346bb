"""Whatever happens to a file of a checkpoint, it is whole, or the one before is taken."""

import contextlib
import logging
import shutil
import sys

import jax
import numpy as np
import pytest
from damages import DAMAGES, damage

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.checkpoints.damage import silence_orbax
from imgrec_jax.training.checkpoints.orbax import Checkpoints

BEST = Selection("val_accuracy", 1)


def state(step):
    leaf = np.full((2, 3), step, np.float32)
    return TrainState(np.int32(step), {"w": leaf}, {"s": leaf + 1}, ({"m": leaf + 2},), {})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints, of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder, keep=2, best=BEST) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state(step), {"n": step}, {"val_accuracy": step / 2})
    return folder


def restored(folder):
    with Checkpoints(folder, keep=2, best=BEST) as checkpoints:
        found, meta = checkpoints.restore_newest(state(0))
    step = int(found.step)
    assert meta == {"n": step}
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(state(step)), strict=True):
        np.testing.assert_array_equal(one, other)
    return step


def arrays(folder, step):
    with Checkpoints(folder, read_only=True) as checkpoints:
        return checkpoints.restore_tree(step)["params"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_any_damage_to_any_file_is_noticed_or_harmless(saved, tmp_path, kind, caplog, capfd):
    files = sorted(p.relative_to(saved) for p in (saved / "2").rglob("*") if p.is_file())
    fallen_back = 0
    for number, name in enumerate(files):
        folder = tmp_path / str(number) / "checkpoints"
        shutil.copytree(saved, folder)
        if not damage(folder / name, kind):
            continue
        caplog.clear()
        with contextlib.suppress(UserError):  # a reader repairs nothing
            assert np.array_equal(arrays(folder, 2)["w"], state(2).params["w"])
        step = restored(folder)
        assert step == 2 or len(caplog.records) == 1, (name, caplog.text)
        assert (tmp_path / str(number) / "damaged" / "2_0").is_dir() == (step == 1)
        fallen_back += step == 1
    assert fallen_back >= 4  # digests, metadata, the index of the arrays, the arrays
    assert capfd.readouterr().err == ""  # no traceback from a thread


def test_a_renamed_checkpoint_is_noticed(saved, tmp_path, caplog):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    (folder / "2").rename(folder / "3")
    assert restored(folder) == 1
    assert "it holds step 2, try renaming the folder back" in caplog.text


def test_swapped_checkpoints_are_noticed_and_stay(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    (folder / "2").rename(folder / "x")
    (folder / "1").rename(folder / "2")
    (folder / "x").rename(folder / "1")
    for _ in range(2):  # the next start does not begin anew either
        with pytest.raises(UserError, match=r"got only damaged ones, the newest: .*holds step 1"):
            restored(folder)
    assert not (tmp_path / "damaged").exists()


def test_only_late_reads_of_tensorstore_are_silenced(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    silence_orbax()
    for error in (RuntimeError("Event loop is closed"), RuntimeError("a bug")):
        sys.unraisablehook(type("Unraisable", (), {"exc_value": error}))
    assert [str(one.exc_value) for one in told] == ["a bug"]
    logger = logging.getLogger("asyncio")
    assert not logger.filter(logging.makeLogRecord({"msg": "Task exception was never retrieved"}))
    assert logger.filter(logging.makeLogRecord({"msg": "a slow callback"}))
