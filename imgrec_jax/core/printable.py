"""Escape what must not reach a terminal: control characters and marks that reorder text.

File and class names come from elsewhere; one with an escape sequence could move the cursor, and one
with a bidirectional mark could show another name.
"""

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_BIDI_MARKS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(f"[{_CONTROLS}{_BIDI_MARKS}\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Return a text with escapes such as \n and \u001b, which are those of JSON."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04x}")


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Escape, inside the context, what is printed and logged to the terminal."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know few characters
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = map(_Stream, before)
    if logging.lastResort:
        logging.lastResort.setFormatter(_Formatter())
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Stream:
    """A text stream that escapes what is written to it, except line breaks and tabs.

    A carriage return is kept where it starts a text, as progress bars write it. Everything else
    is that of the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the escaped text; return the length of the given one."""
        start = text[: text.startswith("\r")]
        lines = re.split(r"(\n|\t)", text[len(start) :])
        self._stream.write(start + "".join(map(_unless_blank, lines)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _unless_blank(part: str) -> str:
    return part if part in {"\n", "\t"} else printable(part)


class _Formatter(logging.Formatter):
    """Format the message of a log record as one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the escaped message."""
        return printable(super().formatMessage(record))
