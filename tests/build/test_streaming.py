"""Runs over images that are decoded as they are used: crops, workers, damaged ones counted."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imgrec_jax
from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.sources import for_reading
from imgrec_jax.build.tasks import open_data
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead
from imgrec_jax.data.sources.source import ArraySource, Splits
from imgrec_jax.data.workers.pool import RemoteSource


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten images to train on, two of them damaged, and six to test on, one damaged."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 6)):
        for number in range(count):
            path = tmp_path / "images" / split / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (30, 36, 3), np.uint8)).save(path)
    for name in ("train/a/2.jpg", "train/b/7.jpg", "test/a/0.jpg"):
        path = tmp_path / "images" / name
        path.write_bytes(path.read_bytes()[:-50])
    return tmp_path / "images"


def config(folder, **changes):
    keys = {
        "data__source": f"folder:{folder}", "data__image_size": 16, "data__holdout": 0.0,
        "data__broken": "skip-and-count", "data__crop": "random_resized_crop", "data__workers": 1,
        "augment": "flip", "batch_size": 4, "epochs": 1, "model__convnet__width": 4,
        "model__convnet__hidden": 8, "parallel__mode": "single", "log__report": False,
    }  # fmt: skip
    return get_config("folder", **{**keys, **changes})


def opened(folder, **changes) -> Splits:
    made = config(folder, **changes)
    return for_reading(made.data, open_data(made))


def test_the_loop_is_fed_by_workers_and_scores_without_the_damaged(folder, recwarn):
    experiment = build_experiment(config(folder, mix="mixup"))
    assert isinstance(experiment.train, TrainBatchesAhead)
    masks = [experiment.train(step)["mask"] for step in range(3)]
    assert sum(mask.sum() for mask in masks) == 8  # of ten
    scored = np.concatenate([batch["mask"] for batch in experiment.data.passes["test"]()])
    assert scored.sum() == 5
    found = experiment.data.broken()
    assert {name: len(rows) for name, rows in found.items()} == {"train": 2, "test": 1}
    assert "truncated" in found["test"][0]


@pytest.mark.slow
def test_a_run_tells_how_many_it_passed_over_and_which(folder, tmp_path):
    run = imgrec_jax.train(config(folder), tmp_path / "run")
    assert run.result["broken_images"] == {"train": 2, "test": 1}
    listed = json.loads((tmp_path / "run" / "broken_images.json").read_text(encoding="utf-8"))
    assert "7.jpg" in listed["train"]["8"]
    assert run.result["metrics"]["test_accuracy"] in [k / 5 for k in range(6)]
    # Started again where all is done: the sum stays.
    again = imgrec_jax.train(config(folder), tmp_path / "run")
    assert again.result["broken_images"] == {"train": 2, "test": 1}
    assert run.evaluate()["test"].metrics["accuracy"] == run.result["metrics"]["test_accuracy"]


def test_what_is_held_out_is_never_cropped(folder):
    splits = opened(folder, data__holdout=2)
    assert isinstance(splits["train"].source, RemoteSource)  # pyright: ignore
    inner = splits["val"].source.source  # pyright: ignore
    assert inner.source.crop is None
    assert splits["train"].source.source.source.crop is not None  # pyright: ignore


def test_memory_or_not_gives_the_same_images(folder):
    keys = {"data__crop": "", "data__broken": "raise"}
    for path in folder.rglob("[207].jpg"):
        path.unlink()
    held = opened(folder, **keys)
    streamed = opened(folder, data__memory_gb=0.0, **keys)
    assert isinstance(held["train"], ArraySource)
    assert isinstance(streamed["train"], RemoteSource)
    for row in range(len(held["train"])):
        assert (held["train"][row]["image"] == streamed["train"][row]["image"]).all()
    assert held["train"].labels.tolist() == streamed["train"].labels.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__crop": "random_resized_crop", "data__image_size": 0}, "data.crop='' for"),
        ({"data__crop": "pad_crop"}, "unknown crop 'pad_crop'"),
        ({"data__broken": "skip"}, "data.broken to be raise or skip-and-count, got 'skip'"),
        ({"data__workers": -3}, "data.workers to be a whole number from -1"),
        (
            {"data__memory_gb": -2.0, "data__crop": "", "data__broken": "raise"},
            "data.memory_gb to be a number from 0 to .*, or -1, got -2",
        ),
    ],
)
def test_what_cannot_be_is_told(folder, changes, message):
    with pytest.raises(UsageError, match=message):
        opened(folder, **changes)


def test_sets_that_come_decoded_are_refused():
    for changes, key in (({"data__crop": "random_resized_crop"}, "crop"),
                         ({"data__broken": "skip-and-count"}, "broken")):  # fmt: skip
        with pytest.raises(UsageError, match=f"expected data.{key}="):
            open_data(get_config("digits", **changes))
