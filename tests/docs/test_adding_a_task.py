"""The worked example of docs/adding_a_task.md: read from the page, trained, asked everything."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import imgrec_jax
from imgrec_jax.build import experiment, source_kinds, tasks
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.training.run import run as run_experiment
from imgrec_jax.training.workdir.files import Workdir

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_task.md"
NAMES = ("red", "green", "blue")


def blocks():
    """Return the Python of the page by the path that its first line names."""
    found = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return dict(found)


def spots(n, seed):
    """Return noise with a red, a green and a blue spot, each in every other image."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 2, (n, 3)).astype(np.uint8)
    images = generator.integers(0, 128, (n, 8, 8, 3)).astype(np.uint8)
    for row, kind in np.argwhere(classes):
        y, x = generator.integers(0, 5, 2)
        images[row, y : y + 4, x : x + 4, kind] += 127
    return ArraySource(images, np.zeros(n, np.int32), NAMES, targets={"classes": classes})


def load_module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def multilabel(tmp_path, monkeypatch):
    """The module of the page, entered into the tables as the page says."""
    path = tmp_path / "multilabel.py"
    path.write_text(blocks()["imgrec_jax/tasks/multilabel.py"], encoding="utf-8")
    module = load_module("multilabel", path)
    monkeypatch.setitem(tasks.TASKS, "multilabel", module.SPEC)
    opened = {"train": spots(243, 0), "test": spots(61, 1)}
    monkeypatch.setitem(source_kinds.SOURCES, "npz_multilabel", lambda where, data: opened)
    return module


@pytest.fixture
def config(tmp_path):
    """Return the config of the page, at a tiny size."""
    folder = tmp_path / "configs"
    folder.mkdir()
    path = folder / "multilabel.py"
    path.write_text(blocks()["configs/multilabel.py"], encoding="utf-8")
    tiny = {
        "epochs": 6,
        "batch_size": 32,
        "eval_batch_size": 32,
        "augment": "flip",
        "log__report": False,
        "model__convnet__width": 8,
        "model__convnet__hidden": 16,
        "optim__learning_rate": 0.01,
        "parallel__devices": "2",
    }
    return lambda **overrides: imgrec_jax.get_config(str(path), **{**tiny, **overrides})


def test_the_example_is_short():
    assert set(blocks()) == {"imgrec_jax/tasks/multilabel.py", "configs/multilabel.py"}
    assert sum(len(code.splitlines()) for code in blocks().values()) + 2 < 80  # 2 in tables


def test_it_trains_and_answers_as_every_task_does(multilabel, config, tmp_path):
    run = imgrec_jax.train(config(), tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "finished"
    assert result["metrics"]["test_map"] > 0.95
    assert result["optimistic_best_on_test"]["test_map"] >= result["metrics"]["test_map"]

    test = spots(61, 1)
    probabilities = run.predict(test.images)
    assert probabilities.shape == (61, 3)
    assert float(((probabilities > 0.5) == test.targets["classes"]).mean()) > 0.9
    again = imgrec_jax.load(tmp_path / "run").evaluate()["test"]
    assert again.metrics["map"] == pytest.approx(result["metrics"]["test_map"], abs=1e-6)
    np.testing.assert_array_equal(again.rows["truth"], test.targets["classes"])
    np.testing.assert_allclose(again.rows["score"], probabilities, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_stopped_run_equals_one_that_was_not(multilabel, config, tmp_path):
    whole = imgrec_jax.train(config(epochs=2), tmp_path / "whole")
    stopping = config(epochs=2, checkpoint__every_steps=3, checkpoint__keep=9)
    imgrec_jax.train(stopping, tmp_path / "cut")
    for late in (tmp_path / "cut" / "checkpoints").iterdir():
        if late.is_dir() and late.name.isdecimal() and int(late.name) > 11:
            shutil.rmtree(late)
    (tmp_path / "cut" / "result.json").unlink()
    lines = []
    outcome = run_experiment(
        stopping.to_dict(),
        Workdir(tmp_path / "cut"),
        lambda: experiment.build_experiment(stopping),
        print_line=lines.append,
    )
    assert outcome.trained
    assert any("resumed  at step" in line for line in lines)
    resumed = imgrec_jax.load(tmp_path / "cut")
    assert resumed.step == whole.step == 16
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)


@pytest.mark.slow
def test_devices_give_the_same_scores(multilabel, config, tmp_path):
    sgd = {"epochs": 1, "optim__name": "sgd"}
    one = imgrec_jax.train(config(parallel__devices="1", **sgd), tmp_path / "one")
    many = imgrec_jax.train(config(parallel__devices="8", **sgd), tmp_path / "many")
    for a, b in zip(jax.tree.leaves(many.params), jax.tree.leaves(one.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
    assert many.metrics["test_loss"] == pytest.approx(one.metrics["test_loss"], rel=1e-4)


def test_average_precision_by_hand(multilabel):
    """Right at places 1 and 3 of three: (1/1 + 2/3) / 2; a class that never occurs is left out."""
    truth = np.array([[1, 0], [0, 0], [1, 0]], np.uint8)
    score = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    sums = {"examples": 3, "loss": 1.5}
    scores = multilabel.compute_metrics(sums, {"score": score, "truth": truth})
    assert scores == {"loss": 0.5, "map": pytest.approx(5 / 6)}
    assert multilabel.compute_metrics(sums, {}) == {"loss": 0.5}
