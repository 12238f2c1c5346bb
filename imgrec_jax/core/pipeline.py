"""Parse pipelines of calls written as one string: `"pad_crop(pad=4)|flip|noise(0.02)"`.

A string passes unchanged through the command line and JSON; a tuple of dicts does not. Arguments
are literals read with `ast`; nothing is ever evaluated.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UsageError, did_you_mean, unknown
from imgrec_jax.core.ranges import Range, error_line


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
    try:
        return tuple(_flatten(ast.parse(text.strip(), mode="eval").body, text))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:  # of deep nesting
        raise _malformed(text) from error


def bind_call(what: str, call: Call, known: Mapping[str, Callable[..., Any]]) -> Any:
    """Call the factory that `call` names with its arguments.

    Args:
        what: what kind of name it is, for messages ("augmentation", "schedule").
        call: one parsed stage.
        known: factories by name. `Annotated[int, COUNT]` declares the range of a parameter; others
            accept all finite values of the type of their default.

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
        form = ", ".join(map(_shown, signature.parameters.values()))
        hint = did_you_mean(wrong, parameters) or f"; try {call.name}({form})"
        raise UsageError(
            f"{what} '{call.name}': expected {call.name}({form}), got {error}{hint}"
        ) from error
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if range_ := _range_of(parameter):
            check_argument(f"{call.name}({name}=...)", value, range_, parameter.default)
    return factory(*bound.args, **bound.kwargs)


def check_argument(where: str, value: Any, range_: Range, default: Any) -> None:
    """Raise if a value, or one of several where the default is several, lies outside of a range."""
    several = isinstance(default, tuple) and isinstance(value, tuple | list) and value
    for each in value if several else (value,):
        if not range_.accepts(each):
            advice = "another value" if default is inspect.Parameter.empty else repr(default)
            raise UsageError(f"{error_line(where, range_, each)}; try {advice}")


def _shown(parameter: inspect.Parameter) -> str:
    """Return `pad=4` for a parameter with a default."""
    given = parameter.default is not inspect.Parameter.empty
    return f"{parameter.name}={parameter.default!r}" if given else parameter.name


def annotated_range(parameter: inspect.Parameter) -> Range | None:
    """Return the range that a signature declares for a parameter, or None."""
    metadata = getattr(parameter.annotation, "__metadata__", ())
    return next((each for each in metadata if isinstance(each, Range)), None)


def _range_of(parameter: inspect.Parameter) -> Range | None:
    """Return the range of a parameter: as declared, or that of the type of its default."""
    simple = type(parameter.default) in {bool, int, float, str}
    return annotated_range(parameter) or (Range(type(parameter.default)) if simple else None)


def _flatten(node: ast.expr, text: str) -> list[Call]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _flatten(node.left, text) + _flatten(node.right, text)
    if isinstance(node, ast.Name):
        return [Call(node.id, (), {})]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        args = tuple(ast.literal_eval(a) for a in node.args)
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords if k.arg}
        if len(kwargs) == len(node.keywords):
            return [Call(node.func.id, args, kwargs)]
    raise _malformed(text)


def _malformed(text: str) -> UsageError:
    text = text if len(text) < 200 else f"{text[:100]}..."
    return UsageError(
        f"expected a pipeline such as 'pad_crop(pad=4)|flip|noise(0.02)', got '{text}'; "
        "try names joined by '|', each with literal arguments in parentheses"
    )
