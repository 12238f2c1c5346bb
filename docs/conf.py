"""The documentation as a site: `make docs` writes it to build/docs, and fails on a broken link."""

import sys
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "imgrec_jax"
html_title = "imgrec_jax"
language = "en"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "experiment_records",
    "linked_sources",
]
exclude_patterns = ["_extensions", "_static"]
html_theme = "furo"  # light and dark; its fonts are the system's, so that a page asks for nothing
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
smartquotes = False  # flags begin with two hyphens
highlight_language = "none"
default_role = "literal"  # docstrings write code in single backticks

myst_heading_anchors = 3
myst_url_schemes = {"http": None, "https": None, "repository": None}  # see linked_sources

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """Show layouts of folders, which tests read by the name of their block, as plain text."""
    app.add_lexer("layout", TextLexer)
    app.connect("doctree-resolved", _set_dashes)


def _set_dashes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Set a dash between a parameter and what it is, where `smartquotes` would have done it."""
    del app, docname
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))
