"""The report beside a training: that it comes, that it costs little, that it harms nothing."""

import dataclasses
import re
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from stories import Elements

import imgrec_jax
from imgrec_jax.__main__ import main
from imgrec_jax.build.preprocessing import build_augmentations, preprocessed, preprocessing
from imgrec_jax.core import state
from imgrec_jax.core.task import LossOutput, Score
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.runs import galleries
from imgrec_jax.runs import reporter as module
from imgrec_jax.runs.reporter import Reporter
from imgrec_jax.runs.trained import Run
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.step.train_step import make_train_step
from imgrec_jax.training.workdir.files import Workdir
from imgrec_jax.training.workdir.lock import workdir_lock

TASK = SimpleNamespace(headline=Score("accuracy"))


def followed(workdir, best=None):
    """Return a reporter of a run that has begun, and what evaluations are told to."""
    workdir.create()
    workdir.append_metrics({"kind": "eval", "step": 1, "test_accuracy": 0.5})
    reporter = Reporter(workdir, imgrec_jax.get_config("digits").to_dict())
    return reporter, reporter.follow(TASK, {}, best)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on images whose brightness tells the class, with Chinese names."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (generator.integers(0, 90, (60, 8, 8, 3)) + 60 * labels[:, None, None, None]).astype(
        np.uint8
    )
    data = {"x_train": images, "y_train": labels, "x_test": images[:30], "y_test": labels[:30]}
    np.savez(folder / "data.npz", **data, label_names=("猫", "<b>狗</b>", "dog"))
    config = imgrec_jax.get_config(
        "digits",
        epochs=2,
        batch_size=20,
        augment="",
        mix="mixup(1.0)",
        ops="plain",
        data__source=f"npz:{folder / 'data.npz'}",
        model__convnet__width=4,
        model__convnet__hidden=8,
        parallel__mode="single",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "score", None)  # what training has found is not looked for again
        return imgrec_jax.train(config, folder / "workdir"), folder / "workdir"


def test_a_finished_run_has_the_whole_report(run):
    page = (run[1] / "report.html").read_text(encoding="utf-8")
    titles = re.findall("<h2>(.*?)</h2>", page)
    mistakes = [title for title in titles if title.startswith(("Most conf", "Least"))]
    assert titles == [
        "Scores",
        "Learning curves",
        "Confusion matrix: test",
        "Classes: test",
        "Calibration: test",
        *mistakes,
        "First-layer filters",
        "Network inputs in the first step",
        "Config",
        "Environment",
    ]
    assert mistakes
    assert "猫" in page
    assert "<b>狗" not in page
    assert "&lt;b&gt;狗" in page
    assert '<span class="status finished">' in page
    assert len(page) < 1e6
    assert f"{run[0].metrics['test_accuracy']:.4f}" in page


def test_the_verb_writes_the_same_scores_and_images_again(run, capsys):
    path = run[1] / "report.html"
    before = Elements(path.read_text(encoding="utf-8"))
    path.unlink()
    assert main(["report", str(run[1])]) == 0
    assert str(path) in capsys.readouterr().out
    again = Elements(path.read_text(encoding="utf-8"))
    assert len(before.named("img")) == len(again.named("img")) > 16
    assert [i["src"] for i in before.named("img")] == [i["src"] for i in again.named("img")]


def test_the_verb_says_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "expected a run with checkpoints" in capsys.readouterr().err


def test_what_was_best_before_a_resume_is_scored_again(run, monkeypatch):
    trained, folder = run
    scored = []
    monkeypatch.setattr(Run, "score", lambda self, splits: scored.append(sorted(splits)) or {})
    reporter = Reporter(Workdir(folder), trained.config.to_dict())
    reporter.follow(trained.task, trained.open(), None)
    reporter.finished(trained)
    assert scored == [["test", "train"]]


def test_the_rows_of_the_best_evaluation_are_kept(tmp_path):
    reporter, evaluated = followed(Workdir(tmp_path), Selection("val_loss", -1))
    found = [{"val": Evaluation({"loss": loss}, {}, {})} for loss in (2.0, 1.0, 1.0, 3.0)]
    for step, evaluation in enumerate(found):
        evaluated(step, evaluation)
    assert reporter._found == (2, found[2])


def test_a_report_that_fails_ends_nothing_and_is_told_once(tmp_path, monkeypatch, caplog):
    def fail(story):
        raise ValueError("no such glyph")

    monkeypatch.setattr("imgrec_jax.report.run_report.run_report", fail)
    monkeypatch.setattr(module, "_REST", 0)
    reporter, evaluated = followed(Workdir(tmp_path))
    evaluated(1, {})
    evaluated(2, {})
    reporter.stopped()
    assert [r.getMessage() for r in caplog.records] == [
        "no report.html (ValueError: no such glyph)"
    ]


def test_reports_rest_a_hundred_times_as_long_as_they_take(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    written = []

    def take_two_seconds(workdir, story):
        clock.now += 2.0
        written.append((clock.now, story.status))

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_write", take_two_seconds)
    reporter, evaluated = followed(Workdir(tmp_path))
    for now in (0.0, 201.0, 202.5, 300.0):
        clock.now = now
        evaluated(1, {})
    assert written == [(2.0, "running"), (204.5, "running")]
    reporter.stopped()
    assert written[-1] == (302.0, "stopped")


def test_a_command_that_began_nothing_leaves_the_report_alone(tmp_path):
    Reporter(Workdir(tmp_path), {}).stopped()
    reporter, _ = followed(Workdir(tmp_path))
    Workdir(tmp_path).write_json("result.json", {})
    reporter.stopped()
    assert not (tmp_path / "report.html").exists()


def test_a_run_that_trains_is_called_running(run):
    trained, folder = run
    workdir = Workdir(folder)
    result = workdir.read_json("result.json")
    workdir.remove("result.json")
    try:
        with workdir_lock(folder):
            running = module.report_on(trained, workdir).read_text(encoding="utf-8")
        stopped = module.report_on(trained, workdir).read_text(encoding="utf-8")
    finally:
        workdir.write_json("result.json", result)
    assert '<span class="status running">' in running
    assert '<span class="status stopped">' in stopped


def test_what_the_network_saw_is_mixed_as_in_training(run):
    """In the first step of seed 0; a batch is 20 images, of which 16 are shown."""
    trained, _ = run
    train = trained.open()["train"]
    gallery = galleries.network_inputs(trained, train)
    assert len(gallery.figures) == 16
    assert gallery.note == "mixup(1.0)"
    for image in gallery.figures:
        parts = re.fullmatch(r"(.+) (\d+)% \+ (.+) (\d+)%", image.caption)
        assert parts
        assert int(parts[2]) + int(parts[4]) in {99, 100, 101}
        assert int(parts[2]) >= 50


def test_it_is_what_the_loss_of_the_training_step_gets(run):
    """A loss that gives its images back, in the step that trains: the same keys, the same mix."""
    trained, _ = run
    config = trained.config.copy_and_resolve_references().unlock()
    config.augment = "noise(0.2)|flip"
    train = trained.open()["train"]

    def loss(params, model_state, batch, context):
        return LossOutput(0.0 * params["w"], model_state, {"image": batch["image"]})

    inner = dataclasses.replace(
        trained.task, count=lambda batch: {"n": batch["mask"].sum(dtype="float32")}, loss=loss
    )
    stages = preprocessing(config, trained.facts, build_augmentations(config.augment))
    task = preprocessed(inner, stages)
    step = jax.jit(make_train_step(task, optax.sgd(0.1)))
    params = {"w": np.float32(0)}
    first = state.create(params, {}, optax.sgd(0.1).init(params), ema=False)
    batch = TrainBatches(train, 20, config.seed, partners=True)(0)
    _, sums = step(first, batch, jax.random.key(config.seed))
    got = 255 * (np.asarray(sums["image"]) * trained.std + np.asarray(trained.mean)).clip(0, 1)
    shown = galleries.network_inputs(Run(**{**vars(trained), "config": config}), train).figures
    assert np.abs(got[:16] - np.stack([image.pixels for image in shown])).max() < 0.51


def test_without_augmentation_it_saw_the_images_themselves(run):
    trained, _ = run
    config = trained.config.copy_and_resolve_references().unlock()
    config.mix = ""
    plain = Run(**{**vars(trained), "config": config})
    train = trained.open()["train"]
    stored = {image.tobytes() for image in train.images}
    shown = [image.pixels.tobytes() for image in galleries.network_inputs(plain, train).figures]
    assert len(shown) == 16
    assert set(shown) <= stored


def test_filters_are_those_of_the_first_convolution():
    kernel = np.arange(2 * 2 * 3 * 5, dtype=np.float32).reshape(2, 2, 3, 5)
    params = {"conv1": {"kernel": kernel}, "dense": {"kernel": np.zeros((4, 4))}}
    gallery = galleries.filters(params, 3)
    assert len(gallery.figures) == 5
    assert gallery.figures[0].pixels[0, 0].tolist() == [0, 23, 46]  # 0, 5 and 10 of 0 .. 55
    assert gallery.figures[4].pixels[-1, -1, -1] == 255
    assert not galleries.filters(params, 1).figures
