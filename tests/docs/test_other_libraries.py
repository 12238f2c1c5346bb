"""The networks of docs/other_libraries.md: read from the page, trained, scored, restored."""

import importlib.util

import jax
import numpy as np
import pytest
from test_worked_examples import load, save_colours, write

import imgrec_jax
from imgrec_jax.build import models
from imgrec_jax.build.experiment import build_parallel
from imgrec_jax.tasks import forward


@pytest.fixture(params=["nnx_convnet", "equinox_convnet"])
def config(request, tmp_path, monkeypatch):
    """Return a function that gives a config with one of the networks, small."""
    name = request.param
    if name.startswith("equinox") and importlib.util.find_spec("equinox") is None:
        pytest.skip("needs Equinox, which is not installed here: pip install equinox")
    path = write("other_libraries.md", tmp_path)[f"imgrec_jax/models/{name}.py"]
    monkeypatch.setitem(models.MODELS, name, getattr(load(path), name))
    save_colours(tmp_path / "colours.npz")

    def with_settings(dropout=0.1, **overrides):
        config = imgrec_jax.get_config(
            "digits",
            batch_size=16,
            eval_batch_size=16,
            augment="",
            model__name=name,
            optim__learning_rate=0.02,
            log__report=False,
            data__source=f"npz:{tmp_path / 'colours.npz'}",
            **overrides,
        )
        with config.unlocked():
            config.model[name] = {"width": 8, "dropout": dropout}
        return config

    return with_settings


def test_a_network_is_called_as_the_page_says(config):
    settings = config(dropout=0.5)
    module = models.build_model(settings, 3, build_parallel(settings))
    images = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
    batch = {"image": images, "mask": np.ones(4, bool)}
    params, model_state = forward.initialise(module, jax.random.key(0), batch)
    assert model_state == {}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))

    def train(key):
        outputs, changed = forward.apply_in_training(
            module, params, model_state, batch, jax.random.key(key)
        )
        assert changed == {}
        return np.asarray(outputs)

    scored = np.asarray(forward.apply(module, params, model_state, batch))
    assert scored.shape == (4, 3)
    np.testing.assert_array_equal(train(1), train(1))
    assert not np.allclose(train(1), train(2))
    assert not np.allclose(train(1), scored)


@pytest.mark.slow
def test_a_network_learns_is_scored_and_comes_back(config, tmp_path):
    run = imgrec_jax.train(config(epochs=12, parallel__devices="2"), tmp_path / "run")
    assert run.metrics["test_accuracy"] == 1.0
    images, labels = save_colours(tmp_path / "again.npz")
    restored = imgrec_jax.load(tmp_path / "run")
    assert set(restored.params) == {"conv1", "norm1", "conv2", "norm2", "head"}
    np.testing.assert_array_equal(restored.predict(images), run.predict(images))
    assert (restored.predict(images).argmax(-1) == labels).all()


@pytest.mark.slow
def test_a_network_goes_on_where_it_stopped(config, tmp_path):
    """With dropout, whose keys are of the step."""
    settings = {"optim__schedule": "constant", "parallel__devices": "2"}
    whole = imgrec_jax.train(config(epochs=2, **settings), tmp_path / "whole")
    imgrec_jax.train(config(epochs=1, **settings), tmp_path / "half")
    resumed = imgrec_jax.train(config(epochs=2, **settings), tmp_path / "half", accept_changes=True)
    for one, other in zip(*map(jax.tree.leaves, (resumed.params, whole.params)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_network_learns_the_same_on_any_devices(config, tmp_path):
    """51 images in batches of 16: of 8 devices, six hold none of the last batch."""

    def on_devices(count, mode):
        settings = {"parallel__devices": str(count), "parallel__mode": mode}
        return imgrec_jax.train(config(dropout=0.0, epochs=1, **settings), tmp_path / mode)

    one = on_devices(1, "single")
    for mode in ("pmap", "shard_map"):
        many = on_devices(8, mode)
        for a, b in zip(*map(jax.tree.leaves, (one.params, many.params)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max(), err_msg=mode)
