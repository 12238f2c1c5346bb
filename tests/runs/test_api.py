import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.digits import open_digits
from imgrec_jax.training import loop
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.host.signals import Interrupted

TINY = {  # what compiles quickly
    "epochs": 1,
    "augment": "",
    "log__report": False,
    "ops": "plain",
    "model__convnet__width": 4,
    "model__convnet__hidden": 8,
}
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "restore.py"


def tiny(**changes):
    """Return a config that trains in a moment, on one device."""
    return imgrec_jax.get_config("digits", **{**TINY, "parallel__mode": "single", **changes})


SOME = {"epochs": 4, "model__convnet__width": 8, "optim__learning_rate": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that has learned something."""
    made = tmp_path_factory.mktemp("api") / "run"
    imgrec_jax.train(tiny(**SOME), made)
    assert not (made / "report.html").exists()  # not asked for
    return made


@pytest.fixture(scope="module")
def run(folder):
    return imgrec_jax.load(folder)


@pytest.fixture(scope="module")
def test_split():
    return open_digits()["test"]


@contextmanager
def stopping_after(calls):
    """Stand in for the signals: asked to stop after so many turns of the loop."""
    turns = itertools.count()
    yield lambda: next(turns) >= calls


def test_train_and_load_stay_functions(folder):
    """Importing the package's modules must not put a module in the place of a function."""
    run = imgrec_jax.load(folder)
    again = imgrec_jax.train(tiny(**SOME), folder)
    assert not again.trained
    assert again.result["step"] == again.step == run.step == 92
    assert run.metrics == again.result["metrics"]


def test_a_run_has_what_research_needs(run):
    assert run.params["conv1"]["kernel"].shape == (3, 3, 1, 8)
    assert run.labels == tuple("0123456789")
    assert run.image_shape == (8, 8, 1)
    assert (run.mean, run.std) == ((0.5,), (0.5,))
    assert run.result["step"] == 92
    assert len(repr(run)) < 500
    scored = run.evaluate()["test"]
    assert scored.metrics["accuracy"] == run.metrics["test_accuracy"]
    assert scored.sums["confusion"].sum() == len(scored.rows["label"]) == 364


def test_probabilities_give_the_scores_of_the_result(run, test_split):
    probabilities = run.predict(test_split.images)
    assert probabilities.shape == (364, 10)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-5)
    right = probabilities.argmax(1) == test_split.labels
    assert right.mean() == run.metrics["test_accuracy"]
    some = run.predict(test_split.images[:3])
    np.testing.assert_allclose(some, probabilities[:3], rtol=1e-4, atol=1e-6)


def test_module_and_inputs_are_what_predict_uses(run, test_split):
    images = test_split.images[:5]
    logits = run.module.apply({"params": run.params, **run.model_state}, run.inputs(images))
    np.testing.assert_allclose(jax.nn.softmax(logits), run.predict(images), rtol=1e-4, atol=1e-6)
    assert float(run.inputs(np.zeros((1, 8, 8, 1), np.uint8)).max()) == -1.0


def test_images_are_read_from_files_of_any_size(run, tmp_path):
    bright = np.full((8, 8), 200, np.uint8)
    Image.fromarray(bright).save(tmp_path / "grey.png")
    Image.fromarray(np.full((30, 20, 3), 200, np.uint8)).save(tmp_path / "rgb.png")
    expected = run.predict(bright[None, ..., None])
    one = run.predict(tmp_path / "grey.png")
    both = run.predict([str(tmp_path / "rgb.png"), tmp_path / "grey.png"])
    np.testing.assert_allclose(one, expected, rtol=1e-5)
    np.testing.assert_allclose(both, np.repeat(expected, 2, 0), rtol=1e-5)
    large = np.full((2, 16, 16, 1), 200, np.uint8)
    np.testing.assert_allclose(run.predict(large), np.repeat(expected, 2, 0), rtol=1e-5)
    with pytest.raises(UserError, match=r"none\.png"):
        run.predict([tmp_path / "grey.png", tmp_path / "none.png"])
    with pytest.raises(UsageError, match="expected images, got none"):
        run.predict([])


def test_features_by_name(run, test_split):
    images = test_split.images[:3]
    features = run.features(images)
    assert features.shape == (3, 8)
    np.testing.assert_array_equal(features, np.maximum(run.features(images, "hidden"), 0))
    assert run.features(images, layer="conv1").shape == (3, 8, 8, 8)
    logits = features @ run.params["head"]["kernel"] + run.params["head"]["bias"]
    np.testing.assert_allclose(run.features(images, "head"), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run.features(images, "output"), run.features(images, "head"))
    with pytest.raises(UsageError, match=r"did you mean 'conv1'\? known: conv1, conv2, features"):
        run.features(images, layer="conv_1")


def test_other_sizes_are_brought_to_the_runs_and_other_channels_refused(run, tmp_path):
    labels = np.arange(10)
    np.savez(tmp_path / "grey.npz", x_train=np.zeros((10, 9, 7, 1), np.uint8), y_train=labels)
    np.savez(tmp_path / "rgb.npz", x_train=np.zeros((10, 8, 8, 3), np.uint8), y_train=labels)
    assert run.evaluate(f"npz:{tmp_path / 'grey.npz'}")["train"].sums["examples"] == 10
    with pytest.raises(UsageError, match=r"expected images of \(8, 8, 1\)"):
        run.evaluate(f"npz:{tmp_path / 'rgb.npz'}")


def test_another_order_of_classes_is_found_by_name(run, test_split, tmp_path):
    """Only threes and ones, and numbered the other way round."""
    some = np.isin(test_split.labels, (1, 3))
    images, labels = test_split.images[some], test_split.labels[some]
    numbers = {"x_test": images, "y_test": np.where(labels == 3, 0, 1)}
    train = {"x_train": images, "y_train": numbers["y_test"]}
    np.savez(tmp_path / "some.npz", **train, **numbers, label_names=["3", "1"])
    scored = run.evaluate(f"npz:{tmp_path / 'some.npz'}")["test"]
    np.testing.assert_array_equal(scored.rows["label"], labels)
    right = run.evaluate()["test"].sums["confusion"].diagonal()
    assert scored.sums["correct"] == right[1] + right[3] > 0
    np.savez(tmp_path / "other.npz", **train, label_names=["3", "one"])
    with pytest.raises(UsageError, match=r"expected the classes of the run .* got one in npz:"):
        run.evaluate(f"npz:{tmp_path / 'other.npz'}")


@pytest.mark.parametrize("classes", [(1, 3), (3,)], ids=["two classes", "one class"])
@pytest.mark.parametrize("split", ["Testing/", ""], ids=["test alone", "no split"])
def test_a_test_split_alone_and_some_classes_are_scored(run, test_split, tmp_path, classes, split):
    """The classes are those of the run: no training images are needed."""
    right = 0
    for label in classes:
        rows = np.flatnonzero(test_split.labels == label)
        (tmp_path / f"{split}{label}").mkdir(parents=True)
        for row in rows:
            pixels = test_split.images[row, ..., 0]
            Image.fromarray(pixels).save(tmp_path / f"{split}{label}" / f"{row}.png")
        right += int(run.evaluate()["test"].sums["confusion"][label, label])
    scored = run.evaluate(f"folder:{tmp_path}")["test" if split else "train"]
    assert scored.sums["correct"] == right > 0
    assert set(scored.rows["label"].tolist()) == set(classes)


def test_steps_by_number_and_by_name(folder, tmp_path):
    assert imgrec_jax.load(folder / "checkpoints" / "92").step == 92
    assert imgrec_jax.load(folder, step="last").step == 92
    with pytest.raises(UserError, match="expected a run with checkpoints"):
        imgrec_jax.load(tmp_path)
    with pytest.raises(UserError, match=r"expected a checkpoint of step 7 .* got steps \[69, 92\]"):
        imgrec_jax.load(folder, step=7)
    with pytest.raises(UserError, match=r"expected a checkpoint of step first .* or best, or last"):
        imgrec_jax.load(folder, step="first")
    with pytest.raises(UsageError, match="expected a run that was scored on a val split"):
        imgrec_jax.load(folder, step="best")
    with pytest.raises(UsageError, match=r"expected a workdir together with step=7"):
        imgrec_jax.load(folder / "checkpoints" / "69", step=7)


def test_a_run_of_an_older_version_lacks_keys(folder, run, tmp_path, monkeypatch):
    """They have their defaults: the run can be used, scored and gone on with."""

    def older(config):
        del config["tta"], config["data"]["dtype"], config["optim"]["sgd"]
        return config

    read_meta = Checkpoints.read_meta

    def altered(self, step):
        meta = read_meta(self, step)
        return {**meta, "config": older(meta["config"])}

    shutil.copytree(folder, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(older(json.loads(config.read_text()))), encoding="utf-8")
    monkeypatch.setattr(Checkpoints, "read_meta", altered)
    found = imgrec_jax.load(tmp_path / "run")
    assert found.config.data.dtype == "uint8"
    assert found.config.model.convnet.width == 8
    assert found.evaluate()["test"].metrics["accuracy"] == run.metrics["test_accuracy"]
    assert not imgrec_jax.train(tiny(**SOME), tmp_path / "run").trained


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run with a val split and a moving average."""
    made = tmp_path_factory.mktemp("api") / "averaged"
    config = tiny(epochs=2, data__holdout=0.3, optim__ema_decay=0.9)
    imgrec_jax.train(config, made)
    return made


def test_the_average_is_loaded_where_one_is_kept(averaged, folder):
    runs = [imgrec_jax.load(averaged, weights=which) for which in ("", "ema", "params")]
    scored, average, plain = (run.params["head"]["bias"] for run in runs)
    np.testing.assert_array_equal(scored, average)
    assert np.abs(average - plain).max() > 1e-5
    assert runs[0].evaluate()["test"].metrics["accuracy"] == runs[0].metrics["test_accuracy"]
    with pytest.raises(UsageError, match="no average is kept"):
        imgrec_jax.load(folder, weights="ema")


def test_best_is_by_the_val_split(averaged, monkeypatch):
    """The checkpoints say which."""
    read_meta = Checkpoints.read_meta
    scores = {16: 0.1, 32: 0.9}

    def altered(self, step):
        meta = read_meta(self, step)
        assert "val_accuracy" in meta["metrics"]
        return {**meta, "metrics": {"val_accuracy": scores[step]}}

    monkeypatch.setattr(Checkpoints, "read_meta", altered)
    assert imgrec_jax.load(averaged, step="best").step == 32
    scores[16] = 0.95
    assert imgrec_jax.load(averaged, step="best").step == 16


def test_the_lowest_loss_may_select_the_best(tmp_path):
    run = imgrec_jax.train(tiny(data__holdout=0.3, checkpoint__best="-loss", epochs=3), tmp_path)
    events = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = {e["step"]: e["val_loss"] for e in events if "val_loss" in e}
    assert run.result["selected_on"] == "val_loss"
    assert run.result["step"] == run.step == min(losses, key=lambda step: (losses[step], -step))
    assert imgrec_jax.load(tmp_path, step="best").step == run.step


def test_more_epochs_are_written_down_and_the_rate_is_told(tmp_path, capsys):
    imgrec_jax.train(tiny(), tmp_path / "run")
    more = tiny(epochs=2, eval_batch_size=100)
    with pytest.raises(UsageError, match=r"  epochs: 1 -> 2\n  eval_batch_size: 512 -> 100\ntry "):
        imgrec_jax.train(more, tmp_path / "run")
    capsys.readouterr()
    run = imgrec_jax.train(more, tmp_path / "run", accept_changes=True)
    assert run.step == 46
    printed = capsys.readouterr().out
    assert "changed  epochs: 1 -> 2 (from step 23 on)" in printed
    # cosine(warmup=0.1) from 5e-3: at its end after 23 steps; of 46, 18 of the 41 that it falls
    assert "rate  0 -> 0.00297" in printed
    history = (tmp_path / "run" / "config_history.jsonl").read_text(encoding="utf-8")
    assert list(map(json.loads, history.splitlines())) == [
        {"step": 23, "key": "epochs", "old": 1, "new": 2},
        {"step": 23, "key": "eval_batch_size", "old": 512, "new": 100},
    ]
    with pytest.raises(
        UsageError, match="expected epochs of 2 or more, which the run has completed"
    ):
        imgrec_jax.train(tiny(eval_batch_size=100), tmp_path / "run", accept_changes=True)


def test_other_classes_are_refused_though_their_number_is_the_same(tmp_path):
    """The shapes of all parameters fit: only the names tell."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    data = {"x_train": images, "y_train": np.arange(40) % 2}
    np.savez(tmp_path / "pets.npz", **data, label_names=["cat", "dog"])
    np.savez(tmp_path / "birds.npz", **data, label_names=["owl", "tit"])
    pets, birds = (tiny(data__source=f"npz:{tmp_path / n}.npz") for n in ("pets", "birds"))
    imgrec_jax.train(pets, tmp_path / "run")
    with pytest.raises(UsageError, match=r"that the run was trained on \(cat, dog\), got owl, tit"):
        imgrec_jax.train(birds, tmp_path / "run", accept_changes=True)


def test_free_keys_change_nothing_of_what_is_learned(tmp_path, monkeypatch):
    whole = imgrec_jax.train(tiny(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "stop_requests", lambda: stopping_after(7))
        with pytest.raises(Interrupted):
            imgrec_jax.train(tiny(), tmp_path / "stopped")
    free = {"log__every_steps": 3, "checkpoint__every_steps": 4, "checkpoint__keep": 5}
    resumed = imgrec_jax.train(tiny(**free), tmp_path / "stopped")
    assert resumed.trained
    assert resumed.metrics == whole.metrics
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    assert not (tmp_path / "stopped" / "config_history.jsonl").exists()


def test_an_interrupt_in_a_notebook_returns_what_was_saved(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "ps1", "In : ", raising=False)
        patch.setattr(loop, "stop_requests", lambda: stopping_after(4))
        run = imgrec_jax.train(tiny(), tmp_path / "run")
    assert (run.step, run.result, run.trained) == (5, {}, True)
    assert (
        "Stopped; returning the run as saved at step 5. The same call resumes it."
        in capsys.readouterr().out
    )
    assert imgrec_jax.train(tiny(), tmp_path / "run").step == 23


def test_outside_the_main_thread_and_without_a_workdir(tmp_path, monkeypatch):
    """Signals cannot be handled there, and a run needs no name."""
    monkeypatch.chdir(tmp_path)
    runs = []
    thread = threading.Thread(target=lambda: runs.append(imgrec_jax.train(tiny())))
    thread.start()
    thread.join()
    assert runs[0].step == 23
    (made,) = (tmp_path / "runs").iterdir()
    assert imgrec_jax.load(made).metrics == runs[0].metrics


UNTOUCHED = """
import sys
import jax
before = dict(jax.config.values)
import imgrec_jax
run = imgrec_jax.load(sys.argv[1])
run.predict([sys.argv[2]])
assert jax.config.values == before
assert "absl.app" not in sys.modules
"""


def test_import_and_load_leave_the_configuration_of_jax_alone(folder, tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "grey.png")
    done = subprocess.run(
        [sys.executable, "-c", UNTOUCHED, str(folder), str(tmp_path / "grey.png")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr


def test_the_example_runs(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    assert done.returncode == 0, done.stderr
    printed = {line[:12].strip(): line[12:] for line in done.stdout.splitlines()}
    accuracies = {
        name: float(printed[name].split()[0]) for name in ("as trained", "probe", "new head")
    }
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert accuracies["as trained"] == round(result["metrics"]["test_accuracy"], 4)
    assert accuracies["probe"] > 0.8
    assert accuracies["new head"] > 0.8
    with Image.open(tmp_path / "filters.png") as filters:
        assert filters.size == (8 * 4 * 8, 8 * 4)  # eight kernels of 3x3, each with a border


def test_get_config_checks_what_it_is_given():
    assert imgrec_jax.get_config("cifar10", batch_size=128).batch_size == 128
    with pytest.raises(UsageError, match="did you mean 'batch_size'"):
        imgrec_jax.get_config("cifar10", batchsize=128)
    with pytest.raises(UsageError, match="expected epochs to be a whole number"):
        imgrec_jax.get_config("cifar10", epochs="many")
    with pytest.raises(UsageError, match="expected epochs to be a whole number from 1"):
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
