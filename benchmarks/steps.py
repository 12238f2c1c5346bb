"""Training steps of a network on made-up images, ready to be timed."""

import dataclasses
import itertools
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead
from imgrec_jax.data.sources.source import ArraySource, gather
from imgrec_jax.training.experiment import Experiment

SIZES = {"resnet50": 224, "vit_s16": 224, "vit_b16": 224}
"""Sides of the images that a network is timed on, where it is not 32."""


def configured(model: str, batch: int, *, size: int = 0, **changes: Any) -> ConfigDict:
    """Return the config of a network on four batches of noise; on a GPU in bfloat16.

    Args:
        model: its name.
        batch: images in a batch.
        size: their side; 0: the network's usual one.
        changes: keys of the config.
    """
    size = size or SIZES.get(model, 32)
    classes = 1000 if size >= 224 else 10
    settings = {
        "batch_size": batch,
        "model__name": model,
        "precision": "float32" if jax.default_backend() == "cpu" else "bfloat16",
        "data__source": f"synthetic:{4 * batch},{size}x{size}x3,{classes}",
    }
    if model.startswith("resnet") and size == 32:
        settings[f"model__{model}__stem"] = "cifar"
    return get_config("cifar10_reference", **{**settings, **changes})


def made_up(model: str, batch: int, **changes: Any) -> Experiment:
    """Return the experiment of `configured`; on a GPU its images lie there."""
    made = build_experiment(configured(model, batch, **changes))
    return made if jax.default_backend() == "cpu" else resident(made)


def resident(made: Experiment) -> Experiment:
    """Return the experiment with its images on the device and an epoch of steps in a call."""
    assert isinstance(made.train, TrainBatchesAhead)  # as of all that is not in memory
    batches = made.train.batches
    examples = gather(batches.source, np.arange(len(batches.source)))
    source = ArraySource(examples["image"], examples["label"], batches.source.label_names)
    train = dataclasses.replace(batches, source=source, resident=True)
    return dataclasses.replace(
        made,
        data=dataclasses.replace(made.data, train=train, resident=source.arrays),
        step=dataclasses.replace(made.step, steps_per_call=batches.steps_per_epoch),
    )


@dataclass
class Steps:
    """The compiled steps of an experiment, and where its state stands."""

    experiment: Experiment

    def __post_init__(self) -> None:
        made = self.experiment
        self.program, self.per_call = made.train_program(), made.step.steps_per_call
        self.root, self.state = made.parallel.replicate(made.root_key), made.init()
        self.batches = [made.train(k, self.per_call) for k in range(4)]

    def take(self, steps: int) -> float:
        """Take so many steps or a few more, each on another batch; return the seconds of one."""
        calls = -(-steps // self.per_call)
        started, waiting = time.perf_counter(), None
        for batch in itertools.islice(itertools.cycle(self.batches), calls):
            self.state, sums = self.program(self.state, batch, self.root)
            jax.block_until_ready(waiting)  # as the loop does: one call late
            waiting = sums
        jax.block_until_ready((self.state.params, waiting))
        return (time.perf_counter() - started) / (calls * self.per_call)

    def megabytes(self) -> float:
        """Return what a call needs beside its arguments, as XLA plans it."""
        lowered = self.program.lower(self.state, self.batches[0], self.root)
        memory = lowered.compile().memory_analysis()
        return memory.temp_size_in_bytes / 1e6 if memory else 0.0
