"""The verbs on a segmentation: train as a command, stop and go on, evaluate, predict."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax.cli import evaluate, predict, web
from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.checkpoints.orbax import Checkpoints

TINY = {
    "epochs": 6,
    "batch_size": 4,
    "eval_batch_size": 4,
    "task.name": "segment",
    "task.segment.loss": "cross_entropy|dice",
    "task.class_weights": "balanced",
    "model.name": "unet",
    "model.unet.encoder": "plain(width=8, depth=2)",
    "optim.learning_rate": 0.02,
    "augment": "flip|patch(8, 8)",
    "data.mask_values": "0=ground,100=left,200=right,9=ignore",
    "data.channels": 1,
}


def scene(number):
    """Return a 12x16 image in two halves on a dark ground, and its mask."""
    mask = np.zeros((12, 16), np.uint8)
    mask[3:10, 1 + number % 3 : 8] = 100
    mask[2:11, 8 : 15 - number % 2] = 200
    return mask // 2 + np.uint8(20), mask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 10), ("test", 3)):
        for number in range(count):
            for folder, pixels in zip(("images", "masks"), scene(number), strict=True):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / split / folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of the command line on its own."""
    workdir = tmp_path_factory.mktemp("run") / "run"
    flags = [f"--config.{key}={value}" for key, value in TINY.items()]
    command = [sys.executable, "-m", "imgrec_jax.main", "--config=base", *flags]
    command += [f"--config.data.source=masks:{data}", f"--workdir={workdir}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return workdir


def test_the_result_holds_the_scores_of_all_classes(run):
    metrics = json.loads((run / "result.json").read_text(encoding="utf-8"))["metrics"]
    names = {"loss", "pixel_accuracy", "miou", "boundary_f1", "iou_ground", "iou_left", "iou_right"}
    assert {f"test_{name}" for name in names} == set(metrics)
    ious = [metrics[f"test_iou_{name}"] for name in ("ground", "left", "right")]
    np.testing.assert_allclose(metrics["test_miou"], np.mean(ious), rtol=1e-12)
    assert metrics["test_miou"] > 0.6


def test_the_report_shows_classes_and_masks(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<h2>Classes: test</h2>" in page
    # Three images, the worst first and in their order; of the first step only what is true.
    assert "<h2>Worst images: test</h2>" in page
    assert page.count("<b>truth</b>") == page.count("<b>predicted</b>") == 6
    assert page.count('<p class="names">') == 3
    assert re.search(r"<span>test miou</span><b>0\.\d+</b><small>0\.\d+ to [01]\.\d+ \(95 %", page)
    assert "test iou left" not in page.replace("<b>test iou", "")  # no card for each class


def test_a_page_that_is_served_shows_the_classes_over_the_image(run, data):
    upload = (data / "test" / "images" / "0.png").read_bytes()
    image, labels, drawn, words = web.answer(imgrec_jax.load(run), upload, "0.png", top=5)
    assert labels == {}
    assert image.shape == drawn.shape == (12, 16, 3)
    assert (drawn != image).any()
    assert re.fullmatch(r"(ground|left|right) \d+\.\d %(, .+)?", words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "encoder"),
    [
        ("unet", "resnet18(width=4)"),
        ("deeplab", "convnext_tiny(stage_sizes=(1, 1, 1, 1), widths=(4, 4, 8, 8))"),
    ],
)
def test_encoders_that_are_networks_of_their_own(model, encoder, data, tmp_path):
    keys = {key.replace(".", "__"): value for key, value in TINY.items()}
    keys |= {"epochs": 2, "augment": "flip", "data__image_shape": "32x32", "model__name": model}
    keys |= {f"model__{model}__encoder": encoder, "data__source": f"masks:{data}"}
    keys["parallel__mode"] = "single"
    run = imgrec_jax.train(imgrec_jax.get_config("base", **keys), tmp_path / "run")
    assert run.step == 6
    assert 0 < run.metrics["test_miou"] < 1


@pytest.mark.slow
def test_stopping_and_going_on_ends_in_the_same_state(data, run, tmp_path):
    """A run that has lost all behind its third epoch goes on as the one that lost nothing."""
    keys = {key.replace(".", "__"): value for key, value in TINY.items()}
    config = imgrec_jax.get_config(
        "base", **keys, data__source=f"masks:{data}", checkpoint__keep=9,
        parallel__mode="single",
    )  # fmt: skip
    whole = imgrec_jax.train(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for step in (18, 15, 12):
        shutil.rmtree(tmp_path / "parts" / "checkpoints" / str(step))
    (tmp_path / "parts" / "result.json").unlink()
    with Checkpoints(tmp_path / "parts" / "checkpoints", read_only=True) as kept:
        assert kept.steps[-1] == 9
    again = imgrec_jax.train(config, tmp_path / "parts")
    assert again.step == whole.step == 18
    for one, other in zip(
        jax.tree.leaves((again.params, again.model_state)),
        jax.tree.leaves((whole.params, whole.model_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert again.metrics == whole.metrics


def test_predict_writes_masks_and_overlays_of_images_of_any_size(run, data, tmp_path, capsys):
    Image.fromarray(np.kron(scene(0)[0], np.ones((2, 1), np.uint8))).save(tmp_path / "tall.png")
    small = data / "test" / "images" / "0.png"
    out = tmp_path / "out"
    assert predict.main([str(run), str(tmp_path / "tall.png"), str(small), f"--out={out}"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("0_mask.png", "0_overlay.png", "predictions.json", "tall_mask.png", "tall_overlay.png")
    ]
    assert np.asarray(Image.open(out / "tall_mask.png")).shape == (24, 16, 3)
    colours = {tuple(c) for c in np.asarray(Image.open(out / "0_mask.png")).reshape(-1, 3).tolist()}
    assert colours <= {(0, 0, 0), (128, 0, 0), (0, 128, 0)}
    document = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    assert document["labels"] == ["ground", "left", "right"]
    tall, other = document["images"]
    assert (tall["width"], tall["height"]) == (16, 24)
    assert sum(other["classes"].values()) == pytest.approx(1.0)
    printed = capsys.readouterr().out
    assert "ground " in printed
    assert f"2 images and predictions.json to {out}" in printed


def test_what_is_for_classes_is_refused(run, data, capsys):
    image = str(data / "test" / "images" / "0.png")
    assert predict.main([str(run), image, "--csv"]) == 2
    assert "expected no --csv for a run of task 'segment', got it; try " in capsys.readouterr().err


def test_evaluate_tells_of_each_class(run, capsys):
    assert evaluate.main([str(run)]) == 0
    printed = capsys.readouterr().out
    assert "right" in printed
    assert "IoU" in printed


def test_images_of_another_size_are_scored_at_that_of_the_run(run, tmp_path):
    """Twice as large, each pixel four times: brought back, they are the same."""
    for folder, pixels in zip(("images", "masks"), scene(0), strict=True):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.kron(pixels, np.ones((2, 2), np.uint8))).save(
            tmp_path / folder / "0.png"
        )
    loaded = imgrec_jax.load(run)
    other = loaded.evaluate(f"masks:{tmp_path}")["train"]
    assert other.rows["pixels"][..., 1].sum() == 12 * 16
    predicted = loaded.predict(scene(0)[0][None, ..., None]).argmax(-1)
    right = (predicted == np.searchsorted([0, 100, 200], scene(0)[1])).mean()
    assert other.metrics["pixel_accuracy"] == pytest.approx(right, abs=1e-6)


def test_a_task_wants_data_of_its_kind(data):
    with pytest.raises(
        UsageError, match=r"with 'label_map' for task 'segment', got none in digits"
    ):
        imgrec_jax.train(imgrec_jax.get_config("digits", task__name="segment"), data / "never")
    with pytest.raises(UsageError, match=r"expected mix='' for task 'segment'"):
        imgrec_jax.train(
            imgrec_jax.get_config(
                "base", task__name="segment", mix="mixup", data__source=f"masks:{data}",
                data__mask_values=TINY["data.mask_values"],
            ),
            data / "never",
        )  # fmt: skip
