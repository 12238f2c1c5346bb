import dataclasses
import json

import numpy as np
import pytest

from imgrec_jax.__main__ import main
from imgrec_jax.build.tasks import TASKS
from imgrec_jax.cli.evaluate import lines_of
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.training.workdir.lock import workdir_lock


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The command sets a variable of XLA."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@pytest.fixture
def flawed(trained, tmp_path):
    """Test images in another order of classes, without "CON"; 2 of 10 dogs are called cats."""
    order = ("dog", "猫", "a/b")
    kept = np.flatnonzero(trained.labels != trained.names.index("CON"))
    names = [trained.names[label] for label in trained.labels[kept]]
    dogs = [row for row, name in enumerate(names) if name == "dog"]
    for row in dogs[:2]:
        names[row] = "猫"
    labels = np.asarray([order.index(name) for name in names])
    images = trained.images[kept]
    data = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(tmp_path / "flawed.npz", **data, label_names=order)
    return f"npz:{tmp_path / 'flawed.npz'}"


def evaluate(trained, *arguments):
    return main(["evaluate", str(trained.workdir), *arguments])


def test_scores_by_hand_on_another_order_of_classes(trained, flawed, capsys):
    """30 images: 10 cats, 2 false cats that look like dogs, 10 a/b, 8 dogs."""
    assert evaluate(trained, f"--data={flawed}", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    report = answer["splits"]["test"]["report"]
    assert (report["n"], report["correct"]) == (30, 28)
    assert report["accuracy"] == answer["metrics"]["test_accuracy"] == pytest.approx(28 / 30)
    assert report["balanced_accuracy"] == pytest.approx((10 / 12 + 1 + 1) / 3)
    assert report["macro_f1"] == pytest.approx((20 / 22 + 1 + 16 / 18) / 3)
    assert report["confusion"] == [[10, 0, 0, 2], [0, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 8]]
    assert [c["name"] for c in report["classes"]] == list(trained.names)
    assert report["classes"][3]["precision"] == 0.8
    assert report["classes"][2] == {
        **{"name": "CON", "n": 0, "precision": None, "recall": None, "f1": None}
    }
    low, high = report["intervals"]["accuracy"]
    assert (low, high) == (pytest.approx(0.7793, abs=1e-4), pytest.approx(0.9918, abs=1e-4))
    assert answer["data"] == flawed


def test_the_text_reads_well(trained, flawed, capsys):
    assert evaluate(trained, f"--data={flawed}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{trained.workdir}, step 30, on {flawed}"
    assert lines[2] == "test"
    assert lines[3] == "  accuracy           0.9333  28 of 30"
    assert lines[4].strip() == "95 % interval 0.7793 to 0.9918 (Clopper-Pearson)"
    assert "  猫     12     1.0000  0.8333  0.9091" in lines
    assert "  猫   10    .    .    2" in lines
    assert lines[-1].startswith("Next: ")


def test_its_own_data_by_default_and_beside_a_training(trained, capsys):
    before = {p: p.stat().st_mtime_ns for p in trained.workdir.rglob("*") if p.name != ".lock"}
    with workdir_lock(trained.workdir):
        assert evaluate(trained, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["step"] == 30
    assert answer["data"] == trained.source
    assert answer["metrics"]["test_accuracy"] == 1.0
    after = {p: p.stat().st_mtime_ns for p in trained.workdir.rglob("*") if p.name != ".lock"}
    assert after == before


def test_a_step_by_its_number(trained, capsys):
    assert evaluate(trained, "--step=25", "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 25


def test_a_task_without_a_presentation_shows_its_metrics(trained, capsys, monkeypatch):
    bare = dataclasses.replace(TASKS["classify"], presentation=Presentation())
    monkeypatch.setitem(TASKS, "classify", bare)
    assert evaluate(trained) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "test"
    assert [line.split()[0] for line in lines[3:6]] == ["loss", "accuracy", "top5_accuracy"]
    assert "confusion" not in "".join(lines)


def test_other_classes_and_impossible_steps_are_refused(trained, tmp_path, capsys):
    data = {"x_train": trained.images, "y_train": trained.labels}
    np.savez(tmp_path / "owls.npz", **data, label_names=["猫", "a/b", "CON", "owl"])
    assert evaluate(trained, f"--data=npz:{tmp_path / 'owls.npz'}") == 2
    assert evaluate(trained, "--step=best") == 2
    assert evaluate(trained, "--step=7") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "expected the classes of the run (猫, a/b, CON, dog), got owl in npz:" in errors[0]
    assert "expected a run that was scored on a val split" in errors[1]
    assert "expected a checkpoint of step 7" in errors[2]


def test_a_split_that_chose_the_step_is_called_optimistic():
    part = {"metrics": {}, "report": {}}
    scores = {
        **{"run": "runs/a", "step": 3, "data": "digits", "optimistic": ["val"]},
        "splits": {"val": part, "test": part},
    }
    lines = lines_of(scores, lambda *_: ["  (scores)"])
    assert lines[2] == "val (optimistic: it chose the step)"
    assert lines[5] == "test"
