"""Page frame of a report: one self-contained HTML file with a light and a dark theme."""

import base64
import hashlib
from importlib import resources

from imgrec_jax.report.html import Html, join, tag


def page(title: str, *content: object) -> str:
    """Return a complete HTML document.

    Its content security policy forbids the browser to load anything and to run any script but
    ours, so that an unescaped name could do no harm.
    """
    style, script = (_file(name) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(style)),
    )
    body = tag("body", tag("main", *content), tag("script", Html(script)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def section(title: str, *content: object, note: str = "") -> Html:
    """Return a section of the page under a title; empty if it has no content."""
    inside = join(*content)
    if not inside:
        return Html()
    return tag("section", tag("h2", title), note and tag("p", note, class_="note"), inside)


def folded(title: str, *content: object) -> Html:
    """Return content that is collapsed until the reader opens it."""
    return tag("details", tag("summary", title), *content)


def _file(name: str) -> str:
    return resources.files("imgrec_jax.report").joinpath(name).read_text(encoding="utf-8")
