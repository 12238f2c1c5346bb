"""Parse the command line into a validated config, without loading JAX."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from imgrec_jax.config_files import known_configs, start_from
from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.nested import RENAMED, flatten

Config = Any
"""A locked ConfigDict, whose keys are known only at run time."""


class Request(NamedTuple):
    """A parsed training command line.

    Attributes:
        config: the resolved, locked ConfigDict.
        workdir: the folder of the run.
        resume: "" or "accept-changes".
        plan: "", or the devices to plan for, such as "8xh100".
    """

    config: Any
    workdir: str
    resume: str
    plan: str


def get_config(name: str, **overrides: Any) -> ConfigDict:
    """Return a config by its name (`"cifar10"`) or by the path of a Python file.

    Keyword arguments override values; a double underscore stands for a dot, as in
    `get_config("cifar10", batch_size=128, optim__learning_rate=0.01)`.

    Raises:
        UsageError: unknown config or key, or a value of the wrong type or out of range.
    """
    config = start_from(name)
    for key, value in overrides.items():
        path = key.replace("__", ".")
        _check_key(config, path)
        try:
            config.update_from_flattened_dict({path: value})
        except (TypeError, ValueError) as error:
            raise _wrong_type(config, path, value) from error
    check(config)
    return config.lock()


def parse_command_line(arguments: Sequence[str]) -> Request:
    """Read `--config=... [--workdir=...] [--resume=...] [--plan=...] [--config.any.key=value ...]`.

    Raises:
        UsageError: a flag cannot be parsed or a value is out of range; a one-line message.
    """
    name, rest = _split_config_flag(arguments)
    config = start_from(name)
    for argument in rest:
        if argument.startswith("--config."):
            _check_key(config, argument.removeprefix("--config.").partition("=")[0])
    values: Any = flags.FlagValues()
    flags.DEFINE_string("workdir", f"runs/{Path(name).stem}", "", flag_values=values)
    flags.DEFINE_string("plan", "", "", flag_values=values)
    flags.DEFINE_enum("resume", "", ["", "accept-changes"], "", flag_values=values)
    argv = ["imgrec_jax", *rest]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        stray = values(argv)[1:]
    except (flags.Error, ValueError, TypeError) as error:
        raise UsageError(_one_line(error)) from error
    if stray:
        raise UsageError(f"expected flags, got '{stray[0]}'; try --config=... or --help")
    config = values["config"].value
    check(config)
    return Request(
        config.lock(), values["workdir"].value, values["resume"].value, values["plan"].value
    )


def check(config: ConfigDict) -> None:
    """Raise if a value is invalid, whatever the data."""
    values = flatten(config.to_dict())
    for path, (holds, expected) in _RANGES.items():
        if path in values and not holds(values[path]):
            raise UsageError(
                f"expected {path} {expected}, got {values[path]}; try another --config.{path}"
            )


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _part(value: float) -> bool:
    return 0 <= value < 1


_RESIDUAL = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wrn16_8", "wrn28_10")
_TRANSFORMER = ("width", "heads", "hidden", "decoder_depth", "queries")
_RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "epochs": (_positive, "of 1 or more"),
    "batch_size": (_positive, "of 1 or more"),
    "eval_every": (_positive, "of 1 or more"),
    "eval_batch_size": (_positive, "of 1 or more"),
    "micro_batches": (_positive, "of 1 or more"),
    "steps_per_call": (_not_negative, "of 0 (automatic) or more"),
    "seed": (lambda v: 0 <= v < 2**32, "in 0 .. 2^32 - 1"),
    "precision": (
        lambda v: v in {"float32", "tf32", "bfloat16"},
        "to be float32, tf32 or bfloat16",
    ),
    "ops": (lambda v: v in {"auto", "plain"}, "to be auto or plain"),
    "model.convnet.width": (_positive, "of 1 or more"),
    "model.convnet.hidden": (_positive, "of 1 or more"),
    **{f"model.{name}.width": (_positive, "of 1 or more") for name in _RESIDUAL},
    **{f"model.wrn{size}.dropout": (_part, "from 0 to below 1") for size in ("16_8", "28_10")},
    **{f"model.detr.{name}": (_positive, "of 1 or more") for name in _TRANSFORMER},
    "model.detr.encoder_depth": (_not_negative, "of 0 or more"),
    "model.detr.dropout": (_part, "from 0 to below 1"),
    "model.fcos.width": (_positive, "of 1 or more"),
    "model.fcos.depth": (_not_negative, "of 0 or more"),
    "data.max_boxes": (_positive, "of 1 or more"),
    "data.image_size": (_not_negative, "of 0 (as it is) or more"),
    "data.center_crop": (lambda v: 0 < v <= 1, "above 0, up to 1 (all)"),
    "data.channels": (_not_negative, "of 0 (RGB, or grey as it is) or more"),
    "data.dtype": (lambda v: v in {"uint8", "uint16"}, "to be uint8 or uint16"),
    "data.examples_per_class": (_not_negative, "of 0 (all) or more"),
    "data.holdout": (_not_negative, "of 0 or more"),
    "optim.learning_rate": (_positive, "above 0"),
    "optim.reference_batch": (_not_negative, "of 0 (batch_size) or more"),
    "optim.clip_norm": (_not_negative, "of 0 (none) or more"),
    "optim.layer_decay": (lambda v: 0 < v <= 1, "above 0, up to 1 (none)"),
    "optim.sam_rho": (_not_negative, "of 0 (none) or more"),
    "optim.ema_decay": (lambda v: 0 <= v < 1, "from 0 (none) to below 1"),
    "parallel.fsdp": (_positive, "of 1 or more"),
    "checkpoint.every_steps": (_not_negative, "of 0 (every epoch) or more"),
    "checkpoint.every_minutes": (_not_negative, "of 0 (not by the clock) or more"),
    "checkpoint.keep": (_positive, "of 1 or more"),
    "log.every_steps": (_positive, "of 1 or more"),
}


def _split_config_flag(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return `NAME` of `--config=NAME` or `--config NAME`, and the other arguments."""
    rest = list(arguments)
    for i, argument in enumerate(rest):
        name = argument.removeprefix("-")
        if name in {"-config", "config"} and argument.startswith("-") and i + 1 < len(rest):
            return rest[i + 1], rest[:i] + rest[i + 2 :]
        if argument.startswith(("--config=", "-config=")):
            return argument.partition("=")[2], rest[:i] + rest[i + 1 :]
    raise UsageError(
        "expected --config=FILE, got none; try --config=configs/cifar10.py "
        f"(known: {', '.join(known_configs())})"
    )


def _check_key(config: ConfigDict, path: str) -> None:
    leaves = flatten(config.to_dict())
    if path in RENAMED:
        raise UsageError(
            f"expected config key '{RENAMED[path]}', got '{path}', its name in earlier versions; "
            f"try --config.{RENAMED[path]}"
        )
    if path not in leaves:
        hint = did_you_mean(path, leaves) or "; try --help for the list of keys"
        raise UsageError(f"unknown config key '{path}'{hint}")


def _wrong_type(config: ConfigDict, path: str, value: Any) -> UsageError:
    now = flatten(config.to_dict())[path]
    return UsageError(
        f"expected {path} to be {type(now).__name__}, got {value!r}; try a value like {now!r}"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
