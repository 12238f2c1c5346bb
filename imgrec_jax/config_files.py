"""Find and run the Python files that define configs, without loading JAX."""

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.nested import flatten
from imgrec_jax.core.ranges import Range, Setting, setting


def start_from(name: str | Path) -> ConfigDict:
    """Return a new unlocked config, for a config file to modify.

    Your own config file defines `get_config() -> ConfigDict`, which begins with
    `config = imgrec_jax.start_from("base")`, modifies keys and returns the config.

    Args:
        name: of a config that comes with the package (`"base"` has all keys with their defaults,
            `"cifar10"` a recipe), or the path of a Python file.

    Raises:
        UsageError: unknown config, or its file does not return one with all keys of "base".
    """
    path = Path(name)
    if not path.is_file() and path.parent in {Path(), Path("configs")}:
        path = config_folder() / f"{path.stem}.py"
    if not path.is_file() or path.suffix != ".py":
        raise unknown("config", path.stem, known_configs())
    config = _run(path)
    if not isinstance(config, ConfigDict):
        raise UsageError(
            f"expected a ConfigDict from get_config() in {path}, got {type(config).__name__}; "
            "try to return what imgrec_jax.start_from('base') returns"
        )
    if path != config_folder() / "base.py":
        _check_complete(config, path)
    return config.unlock()


def config_folder() -> Path:
    """Return the folder of the configs that ship with the package."""
    package = Path(__file__).resolve().parent
    in_wheel = package / "configs"
    return in_wheel if in_wheel.is_dir() else package.parent / "configs"


def defaults(declared: ConfigDict) -> ConfigDict:
    """Return the config of declared keys: each with its default."""
    return ConfigDict(
        {
            key: defaults(value) if isinstance(value, ConfigDict) else setting(value).default
            for key, value in declared.items()
        }
    )


@functools.cache
def declared_settings() -> Mapping[str, Setting]:
    """Return the default and the range of each key of the base config, by path."""
    declared = flatten(_load(config_folder() / "base.py").declare().to_dict())
    return {path: setting(value) for path, value in declared.items()}


def setting_ranges(block: str) -> dict[str, Range]:
    """Return the ranges of settings by name: of a block such as model.vit, or of all of optim.

    A setting of optimizers means the same in each of them.
    """
    settings = {path: each for path, each in declared_settings().items() if path.count(".") == 2}
    return {
        path.rpartition(".")[2]: each.range
        for path, each in settings.items()
        if path.startswith(f"{block}.")
    }


def known_configs() -> list[str]:
    """Return the names of the recipes that ship with the package."""
    return sorted(
        p.stem for p in config_folder().glob("*.py") if p.stem not in {"base", "__init__"}
    )


def _run(path: Path) -> object:
    """Return the result of `get_config()` of a file; each call runs the file again."""
    try:
        return _load(path).get_config()
    except Exception as error:
        if isinstance(error, ImportError) and (line := _relative_import(path)):
            raise _no_package(path, line) from error
        message = " ".join(str(error).split())
        raise UsageError(
            f"expected get_config() in {path}, got {type(error).__name__}: {message}"
        ) from error


def _load(path: Path) -> Any:
    """Return the module of a file."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)  # pyright: ignore[reportArgumentType]
    spec.loader.exec_module(module)  # pyright: ignore[reportOptionalMemberAccess]
    return module


def _relative_import(path: Path) -> ast.ImportFrom | None:
    """Return the first import of the form `from .base import get_config`, or None."""
    nodes = ast.walk(ast.parse(path.read_bytes()))
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.level > 0)
    return next(imports, None)


def _no_package(path: Path, line: ast.ImportFrom) -> UsageError:
    """Return the error for a config file of an earlier version, when configs were a package."""
    name = line.module or "base"
    shipped = name == "base" or name in known_configs()
    start = f"'{name}'" if shipped else f"Path(__file__).with_name('{name}.py')"
    return UsageError(
        f"expected {path} without relative imports, got '{ast.unparse(line)}'; "
        f"try 'from imgrec_jax import start_from' and config = start_from({start})"
    )


def _check_complete(config: ConfigDict, path: Path) -> None:
    """Raise if a config lacks keys; the blocks of models and optimizers are not checked."""
    required = {key for key in flatten(start_from("base").to_dict()) if key.count(".") < 2}
    if missing := sorted(required - flatten(config.to_dict()).keys()):
        raise UsageError(
            f"expected all keys of the base config in {path}, got none of {', '.join(missing)}; "
            "try to start from imgrec_jax.start_from('base')"
        )
