import numpy as np
import pytest

import imgrec_jax
from imgrec_jax.core.errors import UsageError, UserError

TINY = {"epochs": 1, "model__convnet__width": 4, "model__convnet__hidden": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("api") / "run"
    imgrec_jax.train(imgrec_jax.get_config("digits", **TINY), made)
    return made


def test_train_and_load_stay_functions(folder):
    """Importing the package's modules must not put a module in the place of a function."""
    config = imgrec_jax.get_config("digits", **TINY)
    run = imgrec_jax.load(folder)
    again = imgrec_jax.train(config, folder)
    assert not again.trained
    assert again.result["step"] == run.step == 23
    assert run.metrics == again.result["metrics"]


def test_a_run_has_what_research_needs(folder):
    run = imgrec_jax.load(folder)
    assert run.params["conv1"]["kernel"].shape == (3, 3, 1, 4)
    assert run.label_names == tuple("0123456789")
    assert run.image_shape == (8, 8, 1)
    scored = run.evaluate()["test"]
    assert scored.metrics["accuracy"] == run.metrics["test_accuracy"]
    assert scored.sums["confusion"].sum() == len(scored.rows["label"]) == 364


def test_other_sizes_are_brought_to_the_runs_and_other_channels_refused(folder, tmp_path):
    labels = np.arange(10)
    np.savez(tmp_path / "grey.npz", x_train=np.zeros((10, 9, 7, 1), np.uint8), y_train=labels)
    np.savez(tmp_path / "rgb.npz", x_train=np.zeros((10, 8, 8, 3), np.uint8), y_train=labels)
    run = imgrec_jax.load(folder)
    assert run.evaluate(f"npz:{tmp_path / 'grey.npz'}")["train"].sums["examples"] == 10
    with pytest.raises(UsageError, match=r"expected pictures of \(8, 8, 1\)"):
        run.evaluate(f"npz:{tmp_path / 'rgb.npz'}")


def test_a_checkpoint_folder_is_a_run_too(folder):
    assert imgrec_jax.load(folder / "checkpoints" / "23").step == 23


def test_a_missing_run_or_step_is_told(folder, tmp_path):
    with pytest.raises(UserError, match="expected a run with checkpoints"):
        imgrec_jax.load(tmp_path)
    with pytest.raises(UserError, match=r"expected a checkpoint of step 7 .* got steps \[23\]"):
        imgrec_jax.load(folder, step=7)


def test_get_config_checks_what_it_is_given():
    assert imgrec_jax.get_config("cifar10", batch_size=128).batch_size == 128
    with pytest.raises(UsageError, match="did you mean 'batch_size'"):
        imgrec_jax.get_config("cifar10", batchsize=128)
    with pytest.raises(UsageError, match="expected epochs to be int"):
        imgrec_jax.get_config("cifar10", epochs="many")
    with pytest.raises(UsageError, match="expected epochs of 1 or more"):
        imgrec_jax.get_config("cifar10", epochs=0)


def test_a_config_of_ones_own_must_be_whole(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ml_collections import ConfigDict\n"
        "def get_config():\n    return ConfigDict({'epochs': 3})\n",
        encoding="utf-8",
    )
    with pytest.raises(UsageError, match="expected all keys of the base config"):
        imgrec_jax.get_config(str(path))
