"""Plots as inline SVG that uses the colours and fonts of the surrounding page.

matplotlib is imported with the first plot, so that training starts without it. pyplot is never
imported, so that figures of the user's script stay untouched.
"""

import io
import re
from collections.abc import Callable
from typing import Any

from imgrec_jax.report.html import Html

INK, FAINT, LINE, PAPER = "#010001", "#010002", "#010003", "#010004"
SERIES = tuple(f"#0100{number}" for number in range(11, 19))
"""Placeholder colours, each replaced by a colour of the page, light or dark."""

_ON_PAGE = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, start=1)},
}
_SETTINGS = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.formatter.limits": (-3, 5),
    "axes.grid": True,
    "axes.labelcolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 12.0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",  # keep text as text: the browser supplies the font
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": LINE,
    "xtick.labelcolor": FAINT,
    "ytick.color": LINE,
    "ytick.labelcolor": FAINT,
}
_ROOT = re.compile(r'<svg [^>]*viewBox="([^"]*)"[^>]*>')
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_BETWEEN = re.compile(r">\s+<")


def draw(
    name: str, description: str, size: tuple[float, float], plot: Callable[[Any], None]
) -> Html:
    """Return the figure that `plot` draws into its axes.

    Args:
        name: of the plot, unique on the page: identifiers inside begin with it.
        description: alternative text.
        size: width and height in pixels, at a scale of 1.
        plot: takes one matplotlib Axes, and draws in the colours of this module.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    written = io.StringIO()
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}  # stubs list the keys individually
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, facecolor="none")
        canvas = FigureCanvasSVG(figure)
        plot(figure.subplots())
        # None omits matplotlib's URL and the time.
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.print_svg(written, metadata=no_metadata)
    return _inline(written.getvalue(), name, description)


def _inline(svg: str, name: str, description: str) -> Html:
    """Return the text of an SVG file as an element of a page, in the page's colours."""
    from html import escape

    root = _ROOT.search(svg)
    assert root is not None  # matplotlib always writes it
    body = _COMMENT.sub("", _STYLE.sub("", svg[root.end() :]))
    body = body.replace("xlink:href=", "href=")
    body = body.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-")
    body = body.replace(' href="#', f' href="#{name}-')
    for color, variable in _ON_PAGE.items():
        body = body.replace(color, variable)
    start = f'<svg viewBox="{root[1]}" role="img" aria-label="{escape(description)}">'
    return Html(_BETWEEN.sub("><", start + body.strip()))
