"""Every config builds at a small size, takes steps, and can learn one batch by heart."""

import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build import models
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.config import known_configs
from imgrec_jax.core.nested import flatten
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import fetch

REDUCED = {
    "airbench94": {"widths": (64, 64)},
    "airbench96": {"widths": (64, 64)},
    "convnext_tiny": {"stage_sizes": (1, 1), "widths": (16, 32), "layer_scale": 1.0},
    "resnet18": {"width": 32, "stage_sizes": (1, 1, 1)},
    "resnet50": {"width": 16, "stage_sizes": (1, 1)},
    "vit_s16": {"patch": 4, "width": 192, "depth": 1, "heads": 2},
    "vit_ti4": {"width": 192, "depth": 1, "heads": 2},
    "wrn28_10": {"width": 8, "blocks": 1},
}
"""What large models are made smaller by, so that the tests stay short."""


@pytest.fixture(autouse=True)
def reduced(monkeypatch):
    for name, settings in REDUCED.items():
        monkeypatch.setitem(models.MODELS, name, functools.partial(models.MODELS[name], **settings))


# What detection learns by heart is measured in boxes: test_detection_run.py.
LEARNED = [name for name in known_configs() if get_config(name).task.name != "detect"]


SMALL = {"cifar10", "cifar10_reference", "cifar10_vit", "cifar100", "digits", "folder", "mnist"}


def slow_where_large(names, small):
    return [n if n in small else pytest.param(n, marks=pytest.mark.slow) for n in names]


def tiny(name, images, masks, **overrides):
    """Return a config over data of its kind, with a small model."""
    keys = {**own_data(name, images, masks), "data__holdout": 0.0, **overrides}
    config = get_config(name, **keys)
    with config.unlocked():
        block = config.model.get(config.model.name, {})
        for key, value in REDUCED.get(config.model.name, {}).items():
            if key in block:  # what a config says counts more than what a model is made with
                block[key] = value
    return config


@pytest.fixture
def images(tmp_path):
    """32 images in 4 classes, as a config's own data would come."""
    generator = np.random.default_rng(0)
    labels = np.arange(32) % 4
    pixels = generator.integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    return f"npz:{path}"


@pytest.fixture
def masks(tmp_path):
    """8 images of 4 classes in quarters, whose colours tell the class."""
    for number in range(8):
        quarters = np.roll(np.arange(4), number).reshape(2, 2)
        mask = quarters.repeat(16, 0).repeat(16, 1).astype(np.uint8)
        image = np.stack([mask * 60, 255 - mask * 60, mask % 2 * 200], axis=-1).astype(np.uint8)
        for split in ("train", "test"):
            for folder, pixels in ((split, image), (f"{split}annot", mask)):
                (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "set" / folder / f"{number}.png")
    return f"masks:{tmp_path / 'set'}"


def own_data(name, images, masks):
    """Return the keys that give a config data of its kind, and how long it takes to learn them."""
    if get_config(name).task.name == "segment":
        return {"data__source": masks, "data__image_shape": "", "batch_size": 8, "epochs": 100}
    return {
        **{"data__source": images, "data__image_size": 0, "data__crop": ""},
        **{"batch_size": 32, "epochs": 60},
    }


def test_the_configs_are_found():
    assert {"cifar10", "cifar10_reference", "digits", "mnist"} <= set(known_configs())


@pytest.mark.parametrize("name", known_configs())
def test_a_config_survives_json_and_has_no_none(name):
    values = get_config(name).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert None not in flatten(values).values()


@pytest.mark.parametrize("name", slow_where_large(LEARNED, SMALL))
def test_a_config_learns_one_batch_by_heart(name, images, masks):
    """Without augmentation, which would make every step another batch."""
    config = tiny(
        name,
        images,
        masks,
        augment="",
        mix="",
        precision="float32",
        optim__ema_decay=0.0,
        optim__layer_decay=1.0,  # which is for weights that know something already
        optim__reference_batch=0,  # the rate as it is said, for this small batch too
        task__label_smoothing=0.0,
        parallel__mode="single",
    )
    experiment = build_experiment(config)
    program = TrainProgram(experiment.task, experiment.step.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    root = experiment.parallel.replicate(experiment.root_key)
    losses, parts = [], []
    for step in range(experiment.total_steps):
        state, sums = program(state, experiment.train(step), root)
        sums = fetch(sums)
        count = int(sums.get("pixels", sums["examples"]))
        losses.append(float(sums["loss"]) / count)
        parts.append(int(sums["correct"]) / count)
    assert losses[0] > 1.0
    assert losses[-1] < 0.1
    assert parts[-1] == 1.0
    assert program.traces == 1


@pytest.mark.parametrize("name", slow_where_large(LEARNED, SMALL - {"cifar10_vit"}))
def test_a_config_takes_a_step_on_all_devices(name, images, masks):
    config = tiny(name, images, masks, epochs=1)
    experiment = build_experiment(config)
    assert experiment.parallel.mode == "pmap"
    assert len(experiment.parallel.devices) == len(jax.devices()) == 8
    program = TrainProgram(experiment.task, experiment.step.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    state, sums = program(
        state, experiment.train(0), experiment.parallel.replicate(experiment.root_key)
    )
    assert int(fetch(sums)["examples"]) == config.batch_size
