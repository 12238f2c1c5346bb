"""The lines that docs/troubleshooting.md shows are lines that the program can print."""

import ast
import re

from pages import ROOT, blocks

LEAST = 15  # characters of a message that are no name or number: fewer would fit anything


def messages():
    """Return a pattern for each string in the package: what is filled in may be anything."""
    found = []
    for path in (ROOT / "imgrec_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = re.split(r"(%[sd])", node.value)
                parts = [None if re.fullmatch("%[sd]", part) else part for part in parts]
            else:
                continue
            if sum(len(part) for part in parts if part) >= LEAST:
                found.append("".join(".*" if p is None else re.escape(p) for p in parts))
    return found


PATTERNS = messages()


def printed(line):
    """Tell whether a line is a message, or a message with another one filled in."""
    lines = line, line.removeprefix("imgrec_jax: ")
    return any(re.fullmatch(pattern, text) for pattern in PATTERNS for text in lines)


def test_every_line_can_be_printed():
    shown = [block.text for block in blocks("docs/troubleshooting.md") if block.language == "text"]
    assert len(shown) >= 10
    for text in shown:
        whole = re.sub(r"\n  .*", "", text)  # changes of a config, a line each
        for line in whole.splitlines():
            ways = line.removeprefix("try ").split(", or ") if line.startswith("try ") else [line]
            assert all(map(printed, ways)), line


def test_a_line_that_is_not_ours_is_noticed():
    assert not printed("imgrec_jax: expected a finite loss, got NaN at step 12")
    assert not printed("WARNING: an NVIDIA GPU is idle, JAX runs on the CPU: pip install 'jax'")
