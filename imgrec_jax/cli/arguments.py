"""Command-line arguments: flags with a range, and the flags that several verbs share."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import Setting, error_line, one_of

_STEPS = "a step, best or last; default: that of the result"


class Parser(argparse.ArgumentParser):
    """A parser of a verb, which reports a wrong command in one line with exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        advice = "" if "; try " in message else f"; try {self.prog} --help"
        self.exit(UsageError.exit_status, f"imgrec_jax: {message}{advice}\n")

    def add_setting(self, flag: str, setting: Setting, **texts: Any) -> None:
        """Add a flag with a default and a range, such as `--n` with `COUNT(64)`.

        Args:
            flag: its name.
            setting: its default and range.
            texts: `help` and `metavar`.
        """
        if setting.range.choices:
            texts.setdefault("metavar", "|".join(filter(None, setting.range.choices)))
        read = _in_range(flag, setting)
        self.add_argument(flag, action=_Read, read=read, default=setting.default, **texts)

    def add_read(self, flag: str, read: Callable[[str], Any], **texts: Any) -> None:
        """Add a flag whose text a function reads, with UsageError for a wrong one."""
        self.add_argument(flag, action=_Read, read=read, **texts)


class _Read(argparse.Action):
    """Stores what a function reads from the text of a flag."""

    def __init__(self, *args: Any, read: Callable[[str], Any], **texts: Any) -> None:
        super().__init__(*args, **texts)
        self._read = read

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        try:
            setattr(namespace, self.dest, self._read(values))
        except UsageError as error:
            parser.error(str(error))


def _in_range(flag: str, setting: Setting) -> Callable[[str], Any]:
    """Return the function that reads a value of the range from text."""

    def read(text: str) -> Any:
        try:
            value = setting.range.kind(text)
        except ValueError:  # not a number, or one of more digits than Python reads
            value = _start_of(text)
        if not setting.range.accepts(value):
            line = error_line(flag, setting.range, value)
            raise UsageError(f"{line}; try {flag}={setting.default}")
        return value

    return read


def folder(text: str) -> str:
    """Return the folder of a flag.

    Raises:
        UsageError: it is empty, which would be the current folder.
    """
    if not text:
        raise UsageError("expected a folder, got ''; try DIR, or . for this one")
    return text


def device_flags() -> Parser:
    """Return the parent of verbs that use JAX: `--device`."""
    parent = Parser(add_help=False)
    parent.add_setting("--device", one_of("", "cpu", "gpu", "tpu")(""))
    return parent


def checkpoint_flags() -> Parser:
    """Return the parent of verbs that load a run: `--step`, `--weights` and `--device`."""
    parent = Parser(add_help=False, parents=[device_flags()])
    parent.add_read("--step", step_of, help=_STEPS)
    weights = one_of("", "params", "ema")("")
    parent.add_setting("--weights", weights, help="default: the evaluated ones")
    return parent


def json_flag() -> Parser:
    """Return the parent of verbs that can print JSON: `--json`."""
    parent = Parser(add_help=False)
    parent.add_argument("--json", action="store_true", help="print one JSON object")
    return parent


def step_of(text: str) -> int | str | None:
    """Return the step of `--step`: a number, "best", "last", or None for "".

    Raises:
        UsageError: it is none of these.
    """
    if text.isdecimal() and len(text) < 20:
        return int(text)
    if text in {"", "best", "last"}:
        return text or None
    raise UsageError(
        f"expected --step as a number, best or last, got '{_start_of(text)}'; try --step=last"
    )


def _start_of(text: str) -> str:
    return text if len(text) < 100 else f"{text[:20]}..."
