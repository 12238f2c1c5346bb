"""Initial training state: random, or loaded from pretrained weights."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imgrec_jax.build.models import encoder_kind, model_kind
from imgrec_jax.build.preprocessing import check_images, normalise, unit
from imgrec_jax.build.tasks import task_spec
from imgrec_jax.config import Config
from imgrec_jax.core import rng, state
from imgrec_jax.core.facts import blank_batch, completed
from imgrec_jax.core.task import Facts, Task
from imgrec_jax.data.sources.source import Source, gather
from imgrec_jax.models.blocks.data_init import DataInit
from imgrec_jax.training.checkpoints.warm_start import warm_start
from imgrec_jax.training.step.parallel import Parallel
from imgrec_jax.weights import hub
from imgrec_jax.weights.files import is_weights_file
from imgrec_jax.weights.resize import resized
from imgrec_jax.weights.start import is_whole, start_encoder_from_file, start_from_file


def initial_state(
    config: Config,
    task: Task,
    optimizer: optax.GradientTransformation,
    facts: Facts,
) -> state.TrainState:
    """Return the randomly initialized state; its shapes do not depend on pixel values."""
    params, model_state = task.init(
        rng.init_key(jax.random.key(config.seed)), blank_batch(completed(facts))
    )
    average = config.optim.ema_decay > 0
    return state.create(params, model_state, optimizer.init(params), ema=average)


def first_weights(
    config: Config,
    facts: Facts,
    train: Source,
    devices: Parallel,
    state: state.TrainState,
    print_line: Callable[[str], None],
) -> state.TrainState:
    """Return the state at the start of training: from `init_from`, or from training images."""
    if config.init_from:
        return _warm_start(config, facts, state, print_line)
    network = task_spec(config).network(config, facts, devices)
    if not isinstance(network, DataInit):
        return state
    rows = np.arange(min(len(train), network.init_images))
    images = unit(jnp.asarray(gather(train, rows)["image"]))
    images = normalise(images, facts["mean"], facts["std"])
    params = network.init_from_images(state.params, images)
    print_line(f"{'initialised':>11}  from {len(rows):,} training images")
    return dataclasses.replace(state, params=params)


def _warm_start(
    config: Config,
    facts: Facts,
    state: state.TrainState,
    print_line: Callable[[str], None],
) -> state.TrainState:
    """Return the state with the weights of `init_from`: a run, a file, or a name of the hub."""
    path, kind, encoder = config.init_from, model_kind(config.model.name), encoder_kind(config)
    if path.startswith(hub.PREFIX):
        file, expected = hub.fetch(path)
        check_images(path, file, expected, config, facts, whole=not encoder)
        for key, value in expected.settings.items():
            print_line(f"{'note':>11}  {path} was trained with the model's {key}={value}")
        path = str(file)
    if not is_weights_file(path):
        return warm_start(path, state, print_line, resized)
    if encoder and not is_whole(path, kind):
        return start_encoder_from_file(path, encoder, state, print_line)
    return start_from_file(path, kind, state, print_line)
