"""Parse pipelines of calls written as one string: `"pad_crop(pad=4)|flip|noise(0.02)"`.

A string passes unchanged through the command line and JSON; a tuple of dicts does not. Arguments
are literals read with `ast`; nothing is ever evaluated.
"""

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UsageError, did_you_mean, unknown


class Call(NamedTuple):
    """One stage: a name and the literal arguments it was written with."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_pipeline(text: str) -> tuple[Call, ...]:
    """Read `"a(1)|b|c(k=2)"` into calls; the empty string is the empty pipeline.

    Raises:
        UsageError: the text is not a `|`-separated list of names and calls with literals.
    """
    if not text.strip():
        return ()
    return tuple(_flatten(_parse(text), text))


def bind_call(what: str, call: Call, known: Mapping[str, Callable[..., Any]]) -> Any:
    """Call the factory that `call` names with its arguments.

    Args:
        what: what kind of name it is, for messages ("augmentation", "schedule").
        call: one parsed stage.
        known: factories by name.

    Raises:
        UsageError: no such name, or arguments that the factory does not take.
    """
    if call.name not in known:
        raise unknown(what, call.name, known)
    factory = known[call.name]
    signature = inspect.signature(factory)
    try:
        bound = signature.bind(*call.args, **call.kwargs)
    except TypeError as error:
        parameters = list(signature.parameters)
        wrong = next((k for k in call.kwargs if k not in parameters), "")
        raise UsageError(
            f"{what} '{call.name}': {error}{did_you_mean(wrong, parameters)} "
            f"expected {call.name}({', '.join(map(str, signature.parameters.values()))})"
        ) from error
    for name, value in bound.arguments.items():
        _check_type(f"{call.name}({name}=...)", value, signature.parameters[name].default)
    return factory(*bound.args, **bound.kwargs)


def _check_type(where: str, value: Any, default: Any) -> None:
    """Raise an error if a value has another type than the default; ints also count as floats."""
    if type(default) is float:
        fits = type(value) in {int, float} and math.isfinite(value)
    else:
        fits = type(default) not in {int, bool, str} or type(value) is type(default)
    if not fits:
        kind = "a finite number" if type(default) is float else type(default).__name__
        raise UsageError(f"expected {where} to be {kind}, got {value!r}; try {default!r}")


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _malformed(text) from error


def _flatten(node: ast.expr, text: str) -> list[Call]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _flatten(node.left, text) + _flatten(node.right, text)
    if isinstance(node, ast.Name):
        return [Call(node.id, (), {})]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        try:
            args = tuple(ast.literal_eval(a) for a in node.args)
            kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
        except ValueError as error:
            raise _malformed(text) from error
        if len(kwargs) == len(node.keywords):
            return [Call(node.func.id, args, kwargs)]
    raise _malformed(text)


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"expected a pipeline such as 'pad_crop(pad=4)|flip|noise(0.02)', got '{text}'; "
        "try names joined by '|', each with literal arguments in parentheses"
    )
