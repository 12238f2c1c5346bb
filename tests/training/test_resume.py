"""What a run has begun with, whatever happened to the files beside its checkpoints."""

import numpy as np
import pytest
from damages import DAMAGES, damage

from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.resume import begun_config
from imgrec_jax.training.workdir.files import Workdir

CONFIG = {"epochs": 3, "seed": 0, "optim": {"name": "adam"}}


@pytest.fixture
def workdir(tmp_path):
    made = Workdir(tmp_path)
    made.write_json("config.json", CONFIG)
    return made


def save(workdir, step):
    with Checkpoints(workdir.checkpoints, keep=9) as checkpoints:
        checkpoints.save(TrainState(np.int32(step), {}, {}, (), {}), {"config": CONFIG}, {})


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_config_is_taken_from_the_newest_checkpoint(workdir, kind):
    save(workdir, 2)
    assert damage(workdir.path / "config.json", kind)
    lines = []
    config = begun_config(workdir, lines.append)
    if kind == "another type":  # what an earlier version could have written: a changed config
        assert lines == []
        return
    assert config == CONFIG
    assert len(lines) == 1 or kind in {"one byte more", "a flipped bit"}  # in the digest's name
    for line in lines:
        assert "config.json is taken from the checkpoint of step 2: " in line
        assert "\n" not in line


def test_a_run_without_checkpoints_has_not_begun(workdir):
    assert begun_config(workdir, print) is None


def test_a_whole_config_is_taken_as_it_is(workdir):
    save(workdir, 2)
    workdir.write_json("config.json", {**CONFIG, "epochs": 5})
    assert begun_config(workdir, print)["epochs"] == 5
