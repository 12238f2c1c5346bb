"""How parameters are moved: optimizers and schedules, and what a config asks of them."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import optax
from optax import contrib

from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.pipeline import Call, bind_call, parse_pipeline
from imgrec_jax.optim import lookahead, optimizers, param_patterns, schedules
from imgrec_jax.optim.groups import Rules, grouped
from imgrec_jax.optim.sam import sharpness_aware

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "acprop": contrib.acprop,
    "adabelief": optax.adabelief,
    "adadelta": optax.adadelta,
    "adafactor": optimizers.adafactor,
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamax": optax.adamax,
    "adamaxw": optax.adamaxw,
    "adamw": optax.adamw,
    "adan": optax.adan,
    "ademamix": contrib.ademamix,
    "adopt": contrib.adopt,
    "amsgrad": optax.amsgrad,
    "cocob": contrib.cocob,
    "dadapt_adamw": contrib.dadapt_adamw,
    "dog": contrib.dog,
    "dowg": contrib.dowg,
    "fromage": optax.fromage,
    "lamb": optax.lamb,
    "lars": optimizers.lars,
    "lion": optax.lion,
    "madgrad": contrib.madgrad,
    "muon": optimizers.muon,
    "nadam": optax.nadam,
    "nadamw": optax.nadamw,
    "novograd": optax.novograd,
    "optimistic_adam_v2": optax.optimistic_adam_v2,
    "optimistic_gradient_descent": optax.optimistic_gradient_descent,
    "prodigy": contrib.prodigy,
    "radam": optax.radam,
    "rmsprop": optimizers.rmsprop,
    "sgd": optimizers.sgd,
    "sign_sgd": optax.sign_sgd,
    "signum": optax.signum,
    "simplified_ademamix": contrib.simplified_ademamix,
    "sm3": optimizers.sm3,
    "yogi": optax.yogi,
}
LEFT_OUT: Mapping[str, str] = {
    "dpsgd": "it needs the gradient of each example",
    "galore": "its state holds empty arrays, which cannot be saved",
    "lbfgs": "it needs the loss itself, to search along a line",
    "momo": "it needs the loss itself",
    "momo_adam": "it needs the loss itself",
    "noisy_sgd": "it keeps a random key in its state",
    "optimistic_adam": "optax has put optimistic_adam_v2 in its place",
    "polyak_sgd": "it needs the loss itself",
    "rprop": "it is for whole data sets, and its step sizes follow no schedule",
    "schedule_free": "it scores other weights than it trains",
    "schedule_free_adamw": "it scores other weights than it trains",
    "schedule_free_sgd": "it scores other weights than it trains",
    "sophia": "it needs the diagonal of the Hessian",
}
"""What optax has besides, each with the reason why a training step cannot use it."""

SCHEDULES: Mapping[str, Callable[..., schedules.Schedule]] = {
    "constant": schedules.constant,
    "cosine": schedules.cosine,
    "linear": schedules.linear,
    "one_cycle": schedules.one_cycle,
    "rsqrt": schedules.rsqrt,
    "step": schedules.step,
}
BATCH_SCALINGS: Mapping[str, float] = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}
"""Powers of the batch size: Goyal et al. 2017 (SGD, linear), Malladi et al. 2022 (Adam, sqrt)."""

_MASKS = ("mask", "weight_decay_mask")


def build_schedule(config: Config, total_steps: int) -> schedules.Schedule:
    """Return the learning rate by step, as `optim.schedule` spells it.

    A length is a part of the run (`warmup=0.1`), or is given in epochs, steps or examples
    (`warmup_epochs=5`, `warmup_steps=500`, `warmup_examples=32000`).
    """
    calls = parse_pipeline(config.optim.schedule)
    if len(calls) != 1:
        raise UsageError(
            f"expected one schedule, got '{config.optim.schedule}'; try 'cosine(warmup=0.1)'"
        )
    units = {
        "epochs": config.epochs,
        "steps": total_steps,
        "examples": total_steps * config.batch_size,
    }
    call = _in_parts_of_the_run(calls[0], units)
    call = call._replace(args=(peak_learning_rate(config), total_steps, *call.args))
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


def build_optimizer(
    config: Config, schedule: schedules.Schedule, arrays: Mapping[str, Any] | None = None
) -> optax.GradientTransformation:
    """Return the optimizer with the settings of its own block; other blocks are not read.

    What it says about parameters by path is checked when it meets them, in `init`.

    Args:
        config: of the run.
        schedule: of the learning rate.
        arrays: float32[] in place of some of those settings, for many networks under `vmap`.

    Raises:
        UsageError: no such optimizer, settings that it does not take, or patterns that match no
            parameter.
    """
    name = config.optim.name
    if name in LEFT_OUT:
        raise UsageError(
            f"expected an optimizer that needs gradients alone, got '{name}': {LEFT_OUT[name]}; "
            f"try one of {', '.join(OPTIMIZERS)}"
        )
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    settings = dict(config.optim[name]) if name in config.optim else {}
    takes = inspect.signature(OPTIMIZERS[name]).parameters
    if config.optim.decay and "weight_decay" not in settings:
        raise UsageError(
            f"expected an optimizer with weight decay for optim.decay='{config.optim.decay}', got "
            f"'{name}'; try adamw or sgd"
        )

    arrays = arrays or {}
    settings = {key: value for key, value in settings.items() if key not in arrays}

    def make(mask: optimizers.Mask) -> optax.GradientTransformation:
        masks = {key: mask for key in _MASKS if key in takes}
        moved = {name: functools.partial(OPTIMIZERS[name], schedule, **arrays)}
        return bind_call("optimizer", Call(name, (), {**settings, **masks}), moved)

    make(lambda params: params)  # so that wrong settings are told at once
    return grouped(make, _rules(config), config.optim.clip_norm)


def over_the_run(
    optimizer: optax.GradientTransformation, config: Config, total_steps: int
) -> optax.GradientTransformation:
    """Return the optimizer with what it does over the course of a run of so many steps.

    Raises:
        UsageError: `optim.lookahead` or `optim.freeze_later` cannot be read.
    """
    if config.optim.freeze_later:
        epoch = total_steps / config.epochs
        optimizer = lookahead.stopped(optimizer, config.optim.freeze_later, epoch)
    for call in parse_pipeline(config.optim.lookahead):
        wraps = {"lookahead": functools.partial(lookahead.lookahead, optimizer, total_steps)}
        optimizer = bind_call("optim.lookahead", call, wraps)
    return optimizer


def build_gradient(config: Config) -> GradientHook:
    """Return what is wrapped around the gradient of the global batch."""
    rho = config.optim.sam_rho
    return sharpness_aware(rho, _rules(config)) if rho else as_it_is


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


def describe_decay(config: Config, params: Any) -> str:
    """Return the line that tells which parameters are decayed, and which are treated apart."""
    optim, shapes, groups = (
        config.optim,
        param_patterns.shapes(params),
        _rules(config).group(params),
    )
    block = dict(optim[optim.name]) if optim.name in optim else {}
    moving = shapes.keys() - groups.frozen
    line = "none"
    if block.get("weight_decay"):
        decayed = _counted(groups.decayed & moving, shapes)
        line = f"{block['weight_decay']:g} on {decayed}, none on {len(moving - groups.decayed)}"
    if groups.frozen:
        line += f"; frozen: {_counted(groups.frozen, shapes)}"
    if groups.rates:
        rates = [groups.rates.get(name, 1.0) for name in moving]
        line += f"; rates times {min(rates):.3g} to {max(rates):.3g}"
    return line


def _rules(config: Config) -> Rules:
    optim = config.optim
    return Rules(optim.freeze, optim.decay, optim.multipliers, optim.layers, optim.layer_decay)


def _counted(names: frozenset[str] | set[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    numbers = f"{sum(sizes[n] for n in names):,} of {sum(sizes.values()):,} parameters"
    return f"{len(names)} of {len(shapes)} arrays ({numbers})"


def _in_parts_of_the_run(call: Call, units: Mapping[str, int]) -> Call:
    """Return a schedule's call with lengths such as `warmup_epochs=5` as parts of the run."""
    parts: dict[str, Any] = {}
    for key, value in call.kwargs.items():
        length, _, unit = key.rpartition("_")
        known = length in schedules.LENGTHS and unit in units
        name = length if known else key
        if name in parts:
            raise UsageError(
                f"expected one length of {name} in '{call.name}', got several; "
                f"try {name}=0.1, {name}_epochs=5 or {name}_steps=500 alone"
            )
        parts[name] = _part(f"{call.name}({key}=...)", value, units[unit]) if known else value
    return call._replace(kwargs=parts)


def _part(where: str, value: Any, whole: int) -> Any:
    """Return a length, or several, as parts of the whole."""
    if isinstance(value, tuple | list):
        return tuple(_part(where, each, whole) for each in value)
    if type(value) not in {int, float}:
        raise UsageError(f"expected {where} to be a number, got {value!r}; try 5")
    if value > whole:
        raise UsageError(
            f"expected {where} to fit into the run of {whole:,}, got {value:g}; try less"
        )
    return value / whole
