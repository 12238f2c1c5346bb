"""The worked examples of docs/adding_*.md: read from the pages, entered, trained."""

import importlib.util
import re

import jax
import numpy as np
import pytest
from pages import blocks

import imgrec_jax
from imgrec_jax.build import models, preprocessing
from imgrec_jax.build.experiment import build_parallel
from imgrec_jax.core.errors import UsageError


def write(page, folder):
    """Write the files of a page; return their paths."""
    paths = {}
    for block in blocks(f"docs/{page}"):
        if block.language == "python":
            name = re.match(r"# (\S+)\n", block.text)[1]
            paths[name] = folder / name
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            paths[name].write_text(block.text, encoding="utf-8")
    return paths


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_colours(path):
    """Write 3 classes of 8x8 images that differ in their colour, and return the test images."""
    generator = np.random.default_rng(0)

    def draw(n):
        labels = np.arange(n) % 3
        images = generator.integers(0, 90, (n, 8, 8, 3))
        images[np.arange(n), :, :, labels] += 100
        return images.astype(np.uint8), labels

    (x, y), (x_test, y_test) = draw(51), draw(21)
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return x_test, y_test


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Return a function that gives the config of the page, small, with its model entered."""
    paths = write("adding_a_model.md", tmp_path)
    model = load(paths["imgrec_jax/models/allconv.py"]).AllConv
    monkeypatch.setitem(models.MODELS, "allconv", model)
    save_colours(tmp_path / "colours.npz")

    def on_devices(devices, **overrides):
        config = imgrec_jax.get_config(
            str(paths["configs/allconv.py"]),
            batch_size=16,
            eval_batch_size=16,
            log__report=False,
            data__source=f"npz:{tmp_path / 'colours.npz'}",
            parallel__devices=str(devices),
            **overrides,
        )
        with config.unlocked():
            config.model.allconv = {"width": 4}
        return config

    return on_devices


def test_the_model_is_built_by_its_name(config):
    """Without computing anything; with what `build` fills in."""
    settings = config(8)
    module = models.build_model(settings, 3, build_parallel(settings))
    assert (module.width, module.axis_name) == (4, "data")
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), np.float32)
    logits, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), images)
    assert logits.shape == (2, 3)
    assert variables["params"]["head"]["kernel"].shape == (16, 3)


@pytest.mark.slow
def test_the_model_learns_and_answers_as_every_model_does(config, tmp_path):
    run = imgrec_jax.train(config(2, epochs=6), tmp_path / "run")
    images, labels = save_colours(tmp_path / "again.npz")
    assert run.metrics["test_accuracy"] == 1.0
    assert (run.predict(images).argmax(-1) == labels).all()
    assert run.features(images).shape == (21, 16)
    assert set(run.model_state["batch_stats"]) == {f"BatchNorm_{i}" for i in range(6)}


@pytest.mark.slow
def test_the_model_learns_the_same_on_any_devices(config, tmp_path):
    """51 images in batches of 16: with 8 devices, six hold none of the last batch."""
    one, many = (imgrec_jax.train(config(n, epochs=1), tmp_path / f"on_{n}") for n in (1, 8))
    trees = (jax.tree.leaves((run.params, run.model_state)) for run in (one, many))
    for a, b in zip(*trees, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.fixture
def quarter_turn(tmp_path, monkeypatch):
    """The augmentation of the page, entered into its table."""
    path = write("adding_an_augmentation.md", tmp_path)["imgrec_jax/augment/quarter_turn.py"]
    factory = load(path).quarter_turn
    monkeypatch.setitem(preprocessing.AUGMENTATIONS, "quarter_turn", factory)
    return factory


def turned(augment, images, first=0):
    keys = jax.vmap(jax.random.key)(np.arange(first, first + len(images)))
    return np.asarray(jax.jit(augment)(keys, {"image": images})["image"])


def test_the_augmentation_turns_images_and_nothing_else(quarter_turn):
    images = np.random.default_rng(0).random((64, 4, 4, 3)).astype(np.float32)
    got = turned(quarter_turn(0.75), images)
    turns = [
        next(k for k in range(4) if np.array_equal(np.rot90(image, k), one))
        for image, one in zip(images, got, strict=True)
    ]
    counts = np.bincount(turns, minlength=4)
    assert counts.sum() == 64
    assert counts.min() >= 6  # 16 of each are expected
    np.testing.assert_array_equal(turned(quarter_turn(0.0), images), images)
    np.testing.assert_array_equal(turned(quarter_turn(0.75), images[10:12], first=10), got[10:12])


def test_the_augmentation_is_a_word_of_the_pipeline(quarter_turn, tmp_path):
    config = imgrec_jax.get_config(str(tmp_path / "configs/cells.py"))
    augment = preprocessing.build_augmentations(config.augment)[0]
    images = np.random.default_rng(1).random((2, 4, 4, 1)).astype(np.float32)
    assert turned(augment, images).shape == (2, 4, 4, 1)
    with pytest.raises(UsageError, match=r"quarter_turn\(probability=.* to 1, got 1.5; try 0.75"):
        preprocessing.build_augmentations("quarter_turn(1.5)")
    with pytest.raises(UsageError, match="expected square images"):
        turned(quarter_turn(), images[:, :3])
