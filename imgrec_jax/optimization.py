"""How parameters are moved: optimizers and schedules, and what a config asks of them."""

from collections.abc import Callable, Mapping
from typing import Any

import optax

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.pipeline import Call, bind_call, parse_pipeline
from imgrec_jax.optim import optimizers, schedules

Config = Any
"""A locked ConfigDict; what it holds is known at run time only."""

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optimizers.adam,
    "adamw": optimizers.adamw,
    "sgd": optimizers.sgd,
}
SCHEDULES: Mapping[str, Callable[..., schedules.Schedule]] = {
    "constant": schedules.constant,
    "cosine": schedules.cosine,
    "linear": schedules.linear,
}
BATCH_SCALINGS: Mapping[str, float] = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}
"""Powers of the batch size: Goyal et al. 2017 (SGD, linear), Malladi et al. 2022 (Adam, sqrt)."""


def build_schedule(config: Config, total_steps: int) -> schedules.Schedule:
    """Return the learning rate by step, as `optim.schedule` spells it."""
    calls = parse_pipeline(config.optim.schedule)
    if len(calls) != 1:
        raise UsageError(
            f"expected one schedule, got '{config.optim.schedule}'; try 'cosine(warmup=0.1)'"
        )
    call = calls[0]._replace(args=(peak_learning_rate(config), total_steps, *calls[0].args))
    return bind_call("schedule", call, SCHEDULES)


def peak_learning_rate(config: Config) -> float:
    """Return the learning rate for the batch size, where `optim.reference_batch` says for which.

    Raises:
        UsageError: `optim.batch_scaling` is neither linear, sqrt nor none.
    """
    optim = config.optim
    if optim.batch_scaling not in BATCH_SCALINGS:
        raise unknown("optim.batch_scaling", optim.batch_scaling, BATCH_SCALINGS)
    ratio = config.batch_size / (optim.reference_batch or config.batch_size)
    return optim.learning_rate * ratio ** BATCH_SCALINGS[optim.batch_scaling]


def build_optimizer(config: Config, schedule: schedules.Schedule) -> optax.GradientTransformation:
    """Return the optimizer with the settings of its own block; other blocks are not read."""
    name = config.optim.name
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return bind_call("optimizer", Call(name, (schedule,), dict(config.optim[name])), OPTIMIZERS)


def describe_learning(config: Config) -> str:
    """Return the line that tells optimizer, schedule and rate, and where the rate comes from."""
    optim = config.optim
    line = f"{optim.name}, {optim.schedule}, rate {peak_learning_rate(config):.3g}"
    if optim.reference_batch in {0, config.batch_size}:
        return line
    return (
        f"{line} = {optim.learning_rate:.3g} for {optim.reference_batch}, "
        f"{optim.batch_scaling} in the batch of {config.batch_size}"
    )
