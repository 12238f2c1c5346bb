"""Estimate the memory, operations and time of a run on devices that are not available here.

Sizes of the state and of batches are exact. Operations are XLA's count of the whole training
step before optimisation. Activations are an estimate: the temporary memory in XLA's own plan of
the same program, compiled for the same number of CPU devices, beside arguments and results.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax

from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.planning.accelerators import DEVICES
from imgrec_jax.training.step.compiled_steps import TrainProgram

DECODED_PER_CORE = 1_208
"""Images/s of a CPU core that crops JPEG files of 500x375 to 224x224 (docs/data.md)."""

_IN_MEMORY = 2e9  # bytes of decoded images that are kept in memory, at most


@dataclass(frozen=True)
class Plan:
    """The figures of a plan, in bytes, operations and seconds; per device unless noted.

    Attributes:
        kind, devices: kind and number of the devices.
        precision: selects the peak operations of the device.
        utilisation: the part of them that the network is assumed to reach.
        batch_size: examples of a step, over all devices.
        state_bytes: parameters, optimizer state and statistics; exact.
        batch_bytes: of a batch as sent; exact.
        temporary_bytes: activations and gradients; an estimate.
        step_flops: of a whole step, over all devices.
        reduced_bytes: of gradients that the devices all-reduce in a step.
        steps, steps_per_epoch: of the run.
    """

    kind: str
    devices: int
    precision: str
    utilisation: float
    batch_size: int
    state_bytes: int
    batch_bytes: int
    temporary_bytes: int
    step_flops: float
    reduced_bytes: int
    steps: int
    steps_per_epoch: int

    @property
    def memory_share(self) -> float:
        """The fraction of a device's memory that state, batch and temporaries take."""
        needed = self.state_bytes + self.batch_bytes + self.temporary_bytes
        return needed / DEVICES[self.kind].memory

    @property
    def compute_seconds(self) -> float:
        """Compute seconds of a step, at the assumed utilisation."""
        peak = DEVICES[self.kind].flops[self.precision] * self.devices
        return self.step_flops / (peak * self.utilisation)

    @property
    def reduce_seconds(self) -> float:
        """Seconds of a ring all-reduce of gradients: each device sends 2 (n - 1) / n of them."""
        sent = 2 * (self.devices - 1) / self.devices * self.reduced_bytes
        return sent / DEVICES[self.kind].bandwidth

    @property
    def step_seconds(self) -> float:
        """Seconds of a step; the all-reduce overlaps with the backward pass as far as it fits."""
        return max(self.compute_seconds, self.reduce_seconds)

    @property
    def images_per_second(self) -> float:
        """Examples per second, over all devices."""
        return self.batch_size / self.step_seconds

    @property
    def minutes(self) -> float:
        """Minutes of all steps."""
        return self.steps * self.step_seconds / 60


def decoding_cores(plan: Plan, image_bytes: int, *, cropped: bool) -> int:
    """Return the CPU cores, over all hosts, that decode images as fast as the devices take them.

    0 if the decoded images stay in memory: they are few, and not cropped from their files.
    """
    if not cropped and plan.steps_per_epoch * plan.batch_size * image_bytes <= _IN_MEMORY:
        return 0
    return math.ceil(plan.images_per_second / DECODED_PER_CORE)


def make_plan(experiment: Experiment, kind: str, precision: str, utilisation: float) -> Plan:
    """Return the plan of an experiment that was built for the same number of CPU devices."""
    parallel = experiment.parallel
    like = jax.eval_shape(experiment.init)
    program = TrainProgram(
        experiment.task,
        experiment.step.optimizer,
        parallel,
        total_steps=experiment.total_steps,
        micro_batches=experiment.step.micro_batches,
        ema_decay=experiment.step.ema_decay,
        gradient=experiment.step.gradient,
    )
    batch = experiment.train(0)
    with jax.default_matmul_precision(experiment.step.matmul_precision):
        lowered = program.lower(like, batch, experiment.root_key)
        memory: Any = lowered.compile().memory_analysis()
    return Plan(
        kind=kind,
        devices=len(parallel.devices),
        precision=precision,
        utilisation=utilisation,
        batch_size=batch["index"].size,
        state_bytes=parallel.bytes_per_device(like),
        batch_bytes=sum(array.nbytes for array in batch.values()) // len(parallel.devices),
        temporary_bytes=memory.temp_size_in_bytes,
        step_flops=program.flops(lowered),
        reduced_bytes=sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(like.params)),
        steps=experiment.total_steps,
        steps_per_epoch=experiment.train.steps_per_epoch,
    )


def parameter_table(experiment: Experiment) -> list[tuple[str, str, int, str]]:
    """Return path, shape, size and sharding of each parameter."""
    like: PyTree = jax.eval_shape(experiment.init)
    shardings = jax.tree.leaves(experiment.parallel.shardings(like).params)
    leaves = jax.tree_util.tree_leaves_with_path(like.params)
    return [
        (
            path_name(path),
            "x".join(map(str, leaf.shape)),
            leaf.size,
            "whole" if sharding.is_fully_replicated else f"1/{leaf.size // _part(sharding, leaf)}",
        )
        for (path, leaf), sharding in zip(leaves, shardings, strict=True)
    ]


def _part(sharding: Any, leaf: Any) -> int:
    size = 1
    for length in sharding.shard_shape(leaf.shape):
        size *= length
    return size
