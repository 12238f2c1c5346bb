"""Read pickles of plain data without unpickling, so that no code in a file can run.

A small stack machine over the opcodes of `pickletools.genops`. It can build dicts, lists, bytes,
ints and uint8 arrays (tuples, None and booleans appear only inside an array's description) and
refuses every other opcode and every other name. This suffices for the Python 2 pickles of the
CIFAR archives.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class NotPlainError(ValueError):
    """The stream contains something other than plain data, or is not a complete pickle."""


@dataclass(frozen=True)
class _Name:
    """A global named in the stream: only text, never looked up."""

    text: str


@dataclass(frozen=True)
class _Unbuilt:
    """An array or a dtype between its REDUCE and its BUILD."""

    kind: _Name


_MARK = object()
_RECONSTRUCT = _Name("numpy.core.multiarray _reconstruct")
_NDARRAY = _Name("numpy ndarray")
_DTYPE = _Name("numpy dtype")
_UINT8 = _Name("uint8")


def _name(text: str) -> _Name:
    name = _Name(text)
    if name not in (_RECONSTRUCT, _NDARRAY, _DTYPE):
        raise NotPlainError(f"the name '{text}' is not allowed")
    return name


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "MARK": lambda _: _MARK,
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "BININT": lambda number: number,
    "BININT1": lambda number: number,
    "BININT2": lambda number: number,
    "BINSTRING": lambda text: text.encode("latin-1"),  # genops returns bytes as latin-1 text
    "SHORT_BINSTRING": lambda text: text.encode("latin-1"),
    "GLOBAL": _name,
}
"""Values that opcodes without stack operands push, as functions of their argument."""


def load_plain(data: bytes) -> Any:
    """Return the contents of a protocol 2 pickle: dict, list, bytes, int or uint8 array, nested.

    Strings are returned as bytes, as Python 2 wrote them.

    Raises:
        NotPlainError: anything else is in the stream, or it is damaged.
    """
    try:
        value = _run(data)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise NotPlainError(str(error)) from error
    _check_plain(value)
    return value


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(data):
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name if name in _LEAVES:
                stack.append(_LEAVES[name](argument))
            case name:
                _combine(name, stack)
    raise NotPlainError("the stream ends early")


def _combine(name: str, stack: list[Any]) -> None:
    """Execute an opcode that uses items on the stack."""
    match name:
        case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
            count = name.removeprefix("TUPLE")
            stack.append(tuple(_pop_items(stack, int(count) if count else None)))
        case "APPEND" | "APPENDS":
            items = _pop_items(stack, 1 if name == "APPEND" else None)
            _expect(stack[-1], list).extend(items)
        case "SETITEM" | "SETITEMS":
            items = _pop_items(stack, 2 if name == "SETITEM" else None)
            _expect(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        case "REDUCE":
            function, arguments = _pop_items(stack, 2)
            stack.append(_reduce(function, arguments))
        case "BUILD":
            unbuilt, state = _pop_items(stack, 2)
            stack.append(_build(unbuilt, state))
        case _:
            raise NotPlainError(f"the opcode {name} is not allowed")


def _pop_items(stack: list[Any], count: int | None) -> list[Any]:
    """Pop `count` items, or with None all above the mark; return them in the order of pushing."""
    if count is None:
        start = max(i for i, item in enumerate(stack) if item is _MARK)
        items = stack[start + 1 :]
        del stack[start:]
    else:
        items = [stack.pop() for _ in range(count)][::-1]
    return items


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise NotPlainError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _reduce(function: Any, arguments: Any) -> _Unbuilt:
    """Recognise the two calls with which numpy creates an array and its dtype."""
    if function == _RECONSTRUCT and arguments == (_NDARRAY, (0,), b"b"):
        return _Unbuilt(_NDARRAY)
    if function == _DTYPE and arguments[0] in (b"u1", b"|u1"):
        return _Unbuilt(_DTYPE)
    raise NotPlainError(f"a call of {function} with {arguments!r:.80} is not allowed")


def _build(unbuilt: Any, state: Any) -> Any:
    """Finish a dtype (always uint8: its state holds byte order and the like) or an array."""
    if unbuilt == _Unbuilt(_DTYPE):
        return _UINT8
    if unbuilt == _Unbuilt(_NDARRAY):
        _version, shape, dtype, fortran, data = state
        if dtype is _UINT8 and type(data) is bytes:
            return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")
    raise NotPlainError("an object is built that is no uint8 array")


def _check_plain(value: Any) -> None:
    """Check all reachable values; a list may contain itself, so visited ones are remembered."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if type(item) is dict:
            waiting += [*item.keys(), *item.values()]
        elif type(item) is list:
            waiting += item
        elif type(item) not in (bytes, int, np.ndarray):
            raise NotPlainError(f"a {type(item).__name__} in the data is not allowed")
