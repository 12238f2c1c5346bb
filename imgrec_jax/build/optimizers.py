"""Build optimizers and schedules from the config."""

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

import optax

from imgrec_jax.config import Config
from imgrec_jax.config_files import setting_ranges
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.pipeline import Call, bind_call, check_argument, parse_pipeline
from imgrec_jax.optim import by_path, lookahead, optimizers, param_patterns, schedules
from imgrec_jax.optim.groups import Rules, grouped
from imgrec_jax.optim.sam import sharpness_aware
from imgrec_jax.optim.table import LEFT_OUT, OPTIMIZERS, SETTINGS

BATCH_SCALINGS: Mapping[str, float] = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}
"""Exponents of batch size: Goyal et al. 2017 (SGD, linear), Malladi et al. 2022 (Adam, sqrt)."""

_MASKS = ("mask", "weight_decay_mask")


def build_schedule(config: Config, total_steps: int) -> schedules.Schedule:
    """Return the learning rate by step, as specified by `optim.schedule`.

    A length is a fraction of the run (`warmup=0.1`), or is given in epochs, steps or examples
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
    call = schedules.in_parts_of_the_run(calls[0], units)
    call = call._replace(args=(peak_learning_rate(config), total_steps, *call.args))
    return bind_call("schedule", call, schedules.SCHEDULES)


def peak_learning_rate(config: Config) -> float:
    """Return the peak learning rate, scaled from `optim.reference_batch` to the batch size."""
    optim = config.optim
    ratio = config.batch_size / (optim.reference_batch or config.batch_size)
    return optim.learning_rate * ratio ** BATCH_SCALINGS[optim.batch_scaling]


def build_optimizer(
    config: Config, schedule: schedules.Schedule, arrays: Mapping[str, Any] | None = None
) -> optax.GradientTransformation:
    """Return the optimizer, or those of `optim.by_path`, with the settings of their blocks.

    Settings of parameters by path are checked in `init`, which knows the parameters.

    Args:
        config: of the run.
        schedule: of the learning rate; the groups of `optim.by_path` follow it with their own
            peaks.
        arrays: float32[] in place of some settings of `optim.name`, for many networks under
            `vmap`.

    Raises:
        UsageError: unknown optimizer, settings that it does not take, or patterns that match no
            parameter.
    """
    optim = config.optim
    rules = _by_path(config)
    calls = [rule.optimizer for rule in rules] or [Call(optim.name, (), {})]

    def make(mask: optimizers.Mask) -> list[optax.GradientTransformation]:
        if not rules:
            return [_optimizer(config, calls[0], schedule, mask, arrays or {})]
        return [_of_rule(config, rule, schedule, mask) for rule in rules]

    make(lambda params: params)  # so that invalid settings are reported at once
    if optim.decay and not any(_weight_decay(config, call) is not None for call in calls):
        raise UsageError(
            f"expected an optimizer with weight decay for optim.decay='{optim.decay}', got "
            f"'{', '.join(call.name for call in calls)}'; try adamw or sgd"
        )
    return grouped(make, _rules(config), optim.clip_norm)


def _of_rule(
    config: Config, rule: by_path.Rule, schedule: schedules.Schedule, mask: optimizers.Mask
) -> optax.GradientTransformation:
    """Return the optimizer of one rule, which follows the schedule from its own peak."""
    if rule.rate is not None or rule.every > 1:
        factor = 1.0 if rule.rate is None else rule.rate / config.optim.learning_rate
        schedule = by_path.at_moves(schedule, factor=factor, k=rule.every)
    optimizer = _optimizer(config, rule.optimizer, schedule, mask, {})
    return by_path.every(optimizer, rule.every) if rule.every > 1 else optimizer


def _optimizer(
    config: Config,
    call: Call,
    schedule: schedules.Schedule,
    mask: optimizers.Mask,
    arrays: Mapping[str, Any],
) -> optax.GradientTransformation:
    """Return an optimizer with the settings of its block, of the call and of the arrays."""
    if call.name in LEFT_OUT:
        raise UsageError(
            f"expected an optimizer that needs only gradients, got '{call.name}': "
            f"{LEFT_OUT[call.name]}; try one of {', '.join(OPTIMIZERS)}"
        )
    if call.name not in OPTIMIZERS:
        raise unknown("optimizer", call.name, OPTIMIZERS)
    if written := [key for key in _MASKS if key in call.kwargs]:
        raise UsageError(
            f"expected literals as settings of '{call.name}' in optim.by_path, got "
            f"{written[0]}={call.kwargs[written[0]]!r}; try optim.decay='PATTERN'"
        )
    check_settings(call.name, {**_block(config, call.name), **call.kwargs})
    factory = OPTIMIZERS[call.name]
    takes = inspect.signature(factory).parameters
    block = _block(config, call.name)
    # As defaults, so that settings of the call must have the same types.
    defaults = {key: value for key, value in block.items() if key in takes}
    not_taken = {key: value for key, value in block.items() if key not in takes}
    masks = {key: mask for key in _MASKS if key in takes}
    moved = {call.name: functools.partial(factory, schedule, **{**defaults, **arrays})}
    call = call._replace(kwargs={**not_taken, **call.kwargs, **masks})
    return bind_call("optimizer", call, moved)


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise if a setting lies outside of its range, or cannot be written in a config."""
    takes = inspect.signature(OPTIMIZERS[name]).parameters
    ranges = {**SETTINGS, **setting_ranges("optim")}
    for key, value in settings.items():
        if key in takes and key not in ranges:
            raise UsageError(
                f"expected settings of '{name}' that are numbers or words, got '{key}'; try without"
            )
        if key in takes:
            check_argument(f"{name}({key}=...)", value, ranges[key], takes[key].default)


def _weight_decay(config: Config, call: Call) -> float | None:
    """Return the weight decay of an optimizer, or None if it has no such setting."""
    return {**_block(config, call.name), **call.kwargs}.get("weight_decay")


def _block(config: Config, name: str) -> dict[str, Any]:
    """Return the settings of an optimizer's block; without a block, optax's defaults apply."""
    return dict(config.optim[name]) if name in config.optim else {}


def over_the_run(
    optimizer: optax.GradientTransformation, config: Config, total_steps: int
) -> optax.GradientTransformation:
    """Return the optimizer with lookahead and delayed freezing for a run of so many steps.

    Raises:
        UsageError: `optim.lookahead` or `optim.freeze_later` cannot be parsed, or slow weights
            would move parameters that `optim.by_path` holds.
    """
    if config.optim.lookahead and (held := [r for r in _by_path(config) if r.every > 1]):
        raise UsageError(
            "expected parameters that move at every step for optim.lookahead, got "
            f"'{held[0].pattern}' with every({held[0].every}) in optim.by_path; try one of the two"
        )
    if config.optim.freeze_later:
        epoch = total_steps / config.epochs
        optimizer = lookahead.stopped(optimizer, config.optim.freeze_later, epoch)
    for call in parse_pipeline(config.optim.lookahead):
        wraps = {"lookahead": functools.partial(lookahead.lookahead, optimizer, total_steps)}
        optimizer = bind_call("optim.lookahead", call, wraps)
    return optimizer


def build_gradient(config: Config) -> GradientHook:
    """Return the wrapper around the gradient of the global batch."""
    rho = config.optim.sam_rho
    return sharpness_aware(rho, _rules(config)) if rho else as_it_is


def describe_learning(config: Config) -> str:
    """Return a line on optimizer, schedule and rate, and how the rate was derived."""
    optim, rules = config.optim, _by_path(config)
    scaled = optim.reference_batch not in {0, config.batch_size}
    scaling = f"{optim.batch_scaling} in the batch of {config.batch_size}"
    if not rules:
        line = f"{optim.name}, {optim.schedule}, rate {peak_learning_rate(config):.3g}"
        rate = f"{optim.learning_rate:.3g} for {optim.reference_batch}"
        return f"{line} = {rate}, {scaling}" if scaled else line
    groups = [_describe_rule(config, rule) for rule in rules]
    line = "; ".join([*groups, optim.schedule])
    return f"{line}; rates are for {optim.reference_batch}, {scaling}" if scaled else line


def _describe_rule(config: Config, rule: by_path.Rule) -> str:
    """Return `discriminator: adam, rate 0.0002, every 2 steps`, with the rate as written."""
    rate = config.optim.learning_rate if rule.rate is None else rule.rate
    line = f"{rule.pattern}: {rule.optimizer.name}, rate {rate:.3g}"
    return f"{line}, every {rule.every} steps" if rule.every > 1 else line


def describe_decay(config: Config, params: Any) -> str:
    """Return a line on which parameters are decayed, and which have settings of their own."""
    shapes, groups = param_patterns.shapes(params), _rules(config).group(params)
    calls = [rule.optimizer for rule in _by_path(config)] or [Call(config.optim.name, (), {})]
    moving = shapes.keys() - groups.frozen
    decayed: dict[float, set[str]] = {}
    for name in groups.decayed & moving:
        if decay := _weight_decay(config, calls[groups.optimizers.get(name, 0)]):
            decayed.setdefault(decay, set()).add(name)
    parts = [f"{decay:g} on {_counted(decayed[decay], shapes)}" for decay in sorted(decayed)]
    still = moving - set().union(*decayed.values())
    line = f"{', '.join(parts)}, none on {len(still)}" if parts else "none"
    if groups.frozen:
        line += f"; frozen: {_counted(groups.frozen, shapes)}"
    if groups.rates:
        rates = [groups.rates.get(name, 1.0) for name in moving]
        line += f"; rates times {min(rates):.3g} to {max(rates):.3g}"
    return line


def _by_path(config: Config) -> tuple[by_path.Rule, ...]:
    return by_path.read_rules(config.optim.by_path)


def _rules(config: Config) -> Rules:
    optim, patterns = config.optim, tuple(rule.pattern for rule in _by_path(config))
    return Rules(
        optim.freeze, optim.decay, optim.multipliers, optim.layers, optim.layer_decay, patterns
    )


def _counted(names: frozenset[str] | set[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    numbers = f"{sum(sizes[n] for n in names):,} of {sum(sizes.values()):,} parameters"
    return f"{len(names)} of {len(shapes)} arrays ({numbers})"
