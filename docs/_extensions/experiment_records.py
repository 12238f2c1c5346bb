"""The directive `experiment-records TASK`: what configs/*.py tell of themselves, measured first.

The docstring of a config is its experiment record. It is shown as it stands, so that there is one
place for a recipe and its numbers.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from imgrec_jax.config import get_config, known_configs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
_BLOCK = re.compile(r"(?:^ {4}.*\n(?:[ ]*\n(?= {4}))*)+", re.MULTILINE)
_MEASURED = re.compile(r"^Measured", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("experiment-records", ExperimentRecords)
    return {"version": "1", "parallel_read_safe": True}


class ExperimentRecords(Directive):
    """A section for each config of a task."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the sections, parsed as the page's own text is."""
        names = [n for n in known_configs() if get_config(n).task.name == self.arguments[0]]
        lines = "\n".join(map(as_markdown, sorted(names, key=_rank))).splitlines()
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, "configs"), self.content_offset, holder)
        return holder.children


def read_record(name: str) -> str:
    """Return the docstring of a config."""
    tree = ast.parse((CONFIGS / f"{name}.py").read_text(encoding="utf-8"))
    return inspect.cleandoc(ast.get_docstring(tree, clean=False) or "")


def as_markdown(name: str) -> str:
    """Return the record of a config under its name; what it sets apart is a block of code."""

    def fenced(block: re.Match[str]) -> str:
        code = inspect.cleandoc("\n" + block[0])
        if not code.startswith("python"):
            return f"```text\n{code}\n```\n"
        # A backslash at the end of a line has joined it to the next one in the docstring.
        code = re.sub(r"[ \\\n]{2,}", " \\\\\n    ", code)
        return f"```bash\n{code}\n```\n"

    link = f"[configs/{name}.py](repository:configs/{name}.py)"
    record = _BLOCK.sub(fenced, read_record(name) + "\n")
    return f"### {name}\n\n{record}\nAll of it: {link}\n"


def _rank(name: str) -> tuple[bool, str]:
    return not _MEASURED.search(read_record(name)), name
