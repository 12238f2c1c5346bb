"""Build HTML from values: anything that is not `Html` is text and gets escaped."""

import html
from collections.abc import Iterable

_EMPTY = frozenset({"img", "link", "meta"})  # elements that have no end


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element; see `join` for its content.

    An underscore at the end of an attribute's name is left out (`class_`), another becomes a
    dash (`data_chart`). An attribute that is "" or False is left out, one that is True stands
    by its name alone.
    """
    start = "".join([f"<{name}", *(_attribute(k, v) for k, v in attributes.items()), ">"])
    return Html(start if name in _EMPTY else f"{start}{join(*content)}</{name}>")


def join(*content: object) -> Html:
    """Return all parts in a row: lists of them part by part, `Html` as it is, the rest escaped."""
    return Html("".join(_text(part) for part in content))


def _text(part: object) -> str:
    if isinstance(part, Html):
        return part
    if isinstance(part, Iterable) and not isinstance(part, str):
        return join(*part)
    return html.escape(str(part))


def _attribute(name: str, value: object) -> str:
    name = name.removesuffix("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if value is False or value == "":
        return ""
    return f' {name}="{html.escape(str(value))}"'
