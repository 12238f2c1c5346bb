"""Links from a page to a file of the repository lead, in the site, to a page of that file.

`[text](../examples/minimal.py#L36)` is what works where the repository is browsed. In the site the
file has a page of its own below `code/`, with its lines numbered and line 36 to be jumped to.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)(?:#L(\d+))?\)")
_SCHEME = "repository:"
_LOGGER = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the three steps: rewrite links, point them to pages, write these pages."""
    app.connect("source-read", _rewrite)
    app.connect("doctree-resolved", _point)
    app.connect("html-collect-pages", _pages)
    app.connect("html-page-context", _set_language)
    return {"version": "1", "parallel_read_safe": False}


def _rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn `../FILE#L36` into `repository:FILE#L-36`, which is looked after by `_point`."""
    folder = (Path(app.srcdir) / docname).parent

    def replaced(link: re.Match[str]) -> str:
        path = (folder / link[1]).resolve()
        if path.is_relative_to(app.srcdir):
            return link[0]
        if not path.is_file():
            _LOGGER.warning("no file %s to link to", link[1], location=docname)
            return link[0]
        line = f"#L-{link[2]}" if link[2] else ""
        return f"]({_SCHEME}{path.relative_to(ROOT).as_posix()}{line})"

    source[0] = _LINK.sub(replaced, source[0])


def _point(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    up = "../" * docname.count("/")
    for link in doctree.findall(nodes.reference):
        if not link.get("refuri", "").startswith(_SCHEME):
            continue
        path, _, line = link["refuri"].removeprefix(_SCHEME).partition("#")
        _linked(app).add(path)
        link["refuri"] = f"{up}code/{path}.html" + (f"#{line}" if line else "")
        link["internal"] = True


def _pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    for path in sorted(_linked(app)):
        text = (ROOT / path).read_text(encoding="utf-8")
        shown = _notebook(text) if path.endswith(".ipynb") else _numbered(path, text)
        body = f"<p><code>{path}</code></p>\n{shown}"
        yield f"code/{path}", {"title": path, "body": body}, "page.html"


def _numbered(path: str, text: str) -> str:
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    return highlight(text, lexer, HtmlFormatter(linenos="inline", linespans="L"))


def _notebook(text: str) -> str:
    """Return the cells of a notebook one below the other."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n".join(
        highlight(source, PythonLexer(), HtmlFormatter())
        if kind == "code"
        else MarkdownIt().render(source)
        for kind, source in cells
    )


def _linked(app: Sphinx) -> set[str]:
    """Return the files that some page links to; all pages are read anew for each build."""
    if not hasattr(app, "linked_sources"):
        app.linked_sources = set()
    return app.linked_sources


def _set_language(
    app: Sphinx, docname: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Let browsers choose a Chinese font, and readers a Chinese voice, for pages in Chinese."""
    del app, template, doctree
    if docname.endswith(".zh-CN"):
        context["language"] = "zh-CN"
