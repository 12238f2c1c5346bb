"""Parse the command line into a validated config, without loading JAX."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from imgrec_jax.config_files import declared_settings, known_configs, start_from
from imgrec_jax.core import ranges
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
        _check_value(path, value, flatten(config.to_dict())[path])
        config.update_from_flattened_dict({path: value})
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
    flags.DEFINE_string("plan", None, "", flag_values=values)
    flags.DEFINE_enum("resume", "", ["", "accept-changes"], "", flag_values=values)
    argv = ["imgrec_jax", *rest]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        stray = values(argv)[1:]
    except (flags.Error, ValueError, TypeError) as error:
        raise UsageError(f"{_one_line(error)}; try --help for the list of flags") from error
    if not values["workdir"].value:
        raise UsageError("expected a folder for --workdir, got ''; try --workdir=runs/mine")
    if values["plan"].value == "":
        raise UsageError("expected devices for --plan, got ''; try --plan=8xh100")
    if stray:
        raise UsageError(f"expected flags, got '{stray[0]}'; try --config=... or --help")
    config = values["config"].value
    check(config)
    return Request(
        config.lock(), values["workdir"].value, values["resume"].value, values["plan"].value or ""
    )


def check(config: ConfigDict) -> None:
    """Raise if a value is outside of its range, whatever the data."""
    for path, value in flatten(config.to_dict()).items():
        _check_value(path, value, value)


def _check_value(path: str, value: Any, default: Any) -> None:
    """Raise if a value is outside of the declared range, or of another type than the default."""
    setting = declared_settings().get(path, ranges.setting(default))
    if not setting.range.accepts(value):
        close = did_you_mean(str(value), setting.range.choices)
        advice = close or f"; try --config.{path}={setting.default}"
        raise UsageError(ranges.error_line(path, setting.range, value) + advice)


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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
