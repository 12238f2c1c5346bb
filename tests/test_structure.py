"""What the architecture promises of the code itself."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "imgrec_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

LONG_FILES = {
    "build/source_kinds.py": "one table of all sources",
    "cli/predict.py": "one verb: its flags, the run, three forms of output",
    "data/formats/folder.py": "one format in all its layouts",
    "data/formats/tfds.py": "one format in its two file formats",
    "data/images/decode.py": "one decoder, whose table of cases stands above it",
    "data/loading/samplers.py": "five samplers that are read beside each other",
    "ops/fast/winograd.py": "one algorithm with its gradients",
    "runs/trained.py": "the public methods of Run with their docstrings",
    "sweeps/page.py": "one page, section by section",
    "sweeps/vmap_sweep.py": "one way of training, from the check to the workdirs",
    "training/checkpoints/orbax.py": "one class around Orbax's manager",
    "training/loop.py": "the loop: one class whose methods share its queue",
}
LONG_FUNCTIONS = {
    "models/airbench.py:__call__": "a network that reads from top to bottom",
}


def test_the_table_of_tasks_alone_asks_for_a_tasks_name():
    """Beside it the config, of which `config_changes` classes all keys."""
    modules = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if re.search(r"\btask\.name\b|\btask\[.name.\]", path.read_text(encoding="utf-8"))
    }
    assert modules == {"build/tasks.py", "training/workdir/config_changes.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    name = str(path.relative_to(PACKAGE))
    text = path.read_text(encoding="utf-8")
    assert (len(text.splitlines()) > 250) == (name in LONG_FILES)
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    long = {f"{name}:{f.name}" for f in functions if f.end_lineno - f.lineno >= 60}
    assert long == {function for function in LONG_FUNCTIONS if function.startswith(f"{name}:")}


def test_a_module_says_in_its_first_line_what_it_is():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        first = ast.get_docstring(ast.parse(text)) if text else "empty"
        assert first, path
        assert len(first.splitlines()[0]) <= 100, path
