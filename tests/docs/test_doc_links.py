"""Links of the documentation to lines of code: the line holds what the link says."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ["coming_from_pytorch.md", "from_formula_to_code.md", "from_formula_to_code.zh-CN.md"]
LINK = re.compile(r"\[`([^`]+)`\]\(([^)#]+)(?:#L(\d+))?\)")


def links(page):
    return LINK.findall((DOCS / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_the_line_that_it_shows(page):
    numbered = [(code, DOCS / path, int(line)) for code, path, line in links(page) if line]
    assert len(numbered) >= 12
    for code, path, line in numbered:
        lines = path.read_text(encoding="utf-8").splitlines()
        now = [number for number, text in enumerate(lines, start=1) if code.strip() in text]
        assert line in now, f"{page}: `{code}` is on lines {now} of {path.name}, not {line}"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_linked_is_there(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert targets
    assert all((DOCS / target).is_file() for target in targets)


def test_the_five_steps_are_linked_in_both_programs():
    text = (DOCS / "from_formula_to_code.md").read_text(encoding="utf-8")
    steps = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    names = [re.match(r"\*\*(\w+)\*\*", step).group(1) for step in steps]
    assert names == ["Forward", "Loss", "Backward", "Update", "Iterate"]
    for step in steps:
        assert "examples/minimal.py#L" in step
        assert "imgrec_jax/" in step
