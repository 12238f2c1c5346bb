"""Every config builds at a small size, takes steps, and can learn one batch by heart."""

import json

import jax
import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build import build_experiment
from imgrec_jax.config import known_configs
from imgrec_jax.core.keys import flatten
from imgrec_jax.training.parallel import TrainProgram, fetch

SMALL = {
    "resnet18": {"width": 32, "stage_sizes": (1, 1, 1)},
    "resnet50": {"width": 16, "stage_sizes": (1, 1)},
    "wrn28_10": {"width": 8, "blocks": 1},
}
"""Arguments of models that would take minutes as they are."""


def tiny(name, pictures, **overrides):
    """Return a config over the pictures, in batches of 32, with a small model."""
    config = get_config(
        name,
        batch_size=32,
        data__source=pictures,
        data__image_size=0,
        data__holdout=0.0,
        **overrides,
    )
    with config.unlocked():
        config.model[config.model.name].update(SMALL.get(config.model.name, {}))
    return config


@pytest.fixture
def pictures(tmp_path):
    """32 pictures in 4 classes, as a config's own data would come."""
    generator = np.random.default_rng(0)
    labels = np.arange(32) % 4
    images = generator.integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    path = tmp_path / "pictures.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return f"npz:{path}"


def test_the_configs_are_found():
    assert {"cifar10", "cifar10_reference", "digits", "mnist"} <= set(known_configs())


@pytest.mark.parametrize("name", known_configs())
def test_a_config_survives_json_and_has_no_none(name):
    values = get_config(name).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert None not in flatten(values).values()


@pytest.mark.parametrize("name", known_configs())
def test_a_config_learns_one_batch_by_heart(name, pictures):
    """Without augmentation, which would make every step another batch."""
    config = tiny(
        name,
        pictures,
        epochs=60,
        augment="",
        task__label_smoothing=0.0,
        parallel__mode="single",
    )
    experiment = build_experiment(config)
    program = TrainProgram(experiment.task, experiment.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    root = experiment.parallel.replicate(experiment.root_key)
    losses = []
    for step in range(experiment.total_steps):
        state, sums = program(state, experiment.train(step), root)
        losses.append(float(fetch(sums)["loss"]) / 32)
    assert losses[0] > 1.0
    assert losses[-1] < 0.1
    assert int(fetch(sums)["correct"]) == 32
    assert program.traces == 1


@pytest.mark.parametrize("name", known_configs())
def test_a_config_takes_a_step_on_all_devices(name, pictures):
    experiment = build_experiment(tiny(name, pictures, epochs=1))
    assert experiment.parallel.mode == "pmap"
    assert len(experiment.parallel.devices) == len(jax.devices()) == 8
    program = TrainProgram(experiment.task, experiment.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    state, sums = program(
        state, experiment.train(0), experiment.parallel.replicate(experiment.root_key)
    )
    assert int(fetch(sums)["examples"]) == 32
