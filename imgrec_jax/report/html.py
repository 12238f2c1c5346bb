"""Build HTML from values: anything that is not `Html` is text and gets escaped."""

import html
from collections.abc import Iterable

_EMPTY = frozenset({"img", "link", "meta"})  # elements that have no end


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


def tag(name: str, /, *content: object, **attributes: object) -> Html:
    """Return an element; see `join` for its content.

    A trailing underscore of an attribute's name is removed (`class_`), others become dashes
    (`data_chart`). Attributes that are "" or False are omitted; one that is True has its name
    alone.
    """
    start = "".join([f"<{name}", *(_attribute(k, v) for k, v in attributes.items()), ">"])
    return Html(start if name in _EMPTY else f"{start}{join(*content)}</{name}>")


def join(*content: object) -> Html:
    """Return all parts joined: lists are flattened, `Html` is kept, the rest is escaped."""
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
