"""Parse XML into a tree with line numbers, without entities or external files."""

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]*)["']""")


@dataclass
class Element:
    """One element.

    Attributes:
        name: tag name.
        line: line of its start, from 1.
        text: its own text, all parts joined and stripped.
        children: its child elements, in order.
    """

    name: str
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find_all(self, name: str) -> list["Element"]:
        """Return the children with a name."""
        return [child for child in self.children if child.name == name]

    def find(self, name: str) -> "Element | None":
        """Return the first child with a name, or None."""
        return next(iter(self.find_all(name)), None)


def parse_xml(data: bytes, where: str) -> Element:
    """Return the root element.

    A document type is refused: its possible declarations (entities that expand to gigabytes,
    external files) have no use in annotations. The encoding is found by `decode_text`.

    Args:
        data: the bytes of the file.
        where: its name, for messages.

    Raises:
        UserError: it is not well-formed XML, or declares a document type.
    """
    found = _DECLARED.match(data)
    decoded = decode_text(data, where, declared=found[1].decode("latin-1") if found else "")
    parser = expat.ParserCreate()
    parser.buffer_text = True
    root = Element("", 0)
    open_elements = [root]
    parts: list[list[str]] = [[]]  # of the text of each open element

    def start(name: str, attributes: Any) -> None:
        del attributes
        element = Element(name, parser.CurrentLineNumber)
        open_elements[-1].children.append(element)
        open_elements.append(element)
        parts.append([])

    def end(name: str) -> None:
        del name
        element = open_elements.pop()
        element.text = "".join(parts.pop()).strip()

    def text(part: str) -> None:
        parts[-1].append(part)

    def refuse(*declared: Any) -> None:
        del declared
        raise UserError(
            f"expected XML without a document type, got one in {where}, line "
            f"{parser.CurrentLineNumber}; try removing <!DOCTYPE ...>"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
    try:
        parser.Parse(decoded, True)  # text overrides the declared encoding
    except expat.ExpatError as error:
        raise UserError(
            f"expected well-formed XML, got {where}, line {error.lineno}: "
            f"{expat.ErrorString(error.code)}; try copying it again or correcting it"
        ) from error
    return root.children[0]
