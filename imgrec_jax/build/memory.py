"""Check that the state and a batch of a run fit into memory, before either is made."""

import math

import jax
import numpy as np

from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.memory_limit import memory_bytes
from imgrec_jax.training.experiment import Experiment


def check_memory(config: Config, experiment: Experiment) -> None:
    """Raise if a batch or the state is larger than the memory where it is to be.

    Activations come on top, so what passes may still not fit.

    Raises:
        UsageError: the message has both sizes.
    """
    facts, devices, machine = experiment.outputs.facts, experiment.parallel, memory_bytes()
    example = sum(
        math.prod(spec["shape"]) * np.dtype(spec["dtype"]).itemsize
        for spec in facts["element_spec"].values()
    )
    _check(
        f"batch_size={config.batch_size}",
        config.batch_size * example // devices.processes,
        machine,
        "a smaller batch_size",
    )
    state = devices.bytes_per_device(jax.eval_shape(experiment.init))
    first = devices.local_devices[0]
    if first.platform == "cpu":
        _check(_state(config), state * len(devices.local_devices), machine, "a smaller model")
    elif limit := (first.memory_stats() or {}).get("bytes_limit", 0):
        _check(_state(config), state, limit, "a smaller model, or parallel.fsdp")


def _state(config: Config) -> str:
    return f"the state of {config.model.name} and its optimizer"


def _check(what: str, size: int, limit: int, advice: str) -> None:
    if size > limit:
        raise UsageError(
            f"expected {what} to fit into {limit / 1e9:,.1f} GB, got {size / 1e9:,.1f} GB; "
            f"try {advice}"
        )
