"""The page on transfer: its commands and flags are understood, its Python runs."""

import ast
import re
import shlex
from pathlib import Path

import imgrec_jax
from imgrec_jax.analysis import linear_probe
from imgrec_jax.cli import probe
from imgrec_jax.config import parse_command_line
from imgrec_jax.networks import MODELS
from imgrec_jax.sources import SOURCES

PAGE = (Path(__file__).resolve().parents[1] / "docs/transfer.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.strip().removeprefix("python -m imgrec_jax "))
    for line in PAGE.replace("\\\n", " ").splitlines()
    if line.startswith("    python -m imgrec_jax ")
]


def test_every_command_is_understood():
    verbs = [verb for verb, *_ in COMMANDS]
    assert {verb: verbs.count(verb) for verb in verbs} == {"train": 4, "probe": 3}
    for verb, *arguments in COMMANDS:
        if verb == "train":
            config = parse_command_line(arguments).config
            assert config.data.source.partition(":")[0] in SOURCES
            assert config.model.name in MODELS
        else:
            assert probe._parse(arguments).run.startswith("runs/")


def test_every_flag_outside_of_commands_is_understood():
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    --config.")]
    assert len(lines) == 3
    for flags in lines:
        parse_command_line(["--config=transfer", *shlex.split(flags)])


def test_what_the_python_names_is_there():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    called = {node.func.attr for node in ast.walk(ast.parse(code)) if is_attribute_call(node)}
    assert called == {"load", "load_pretrained", "features", "scores", "predict", "argmax"}
    assert callable(imgrec_jax.load_pretrained)
    assert "fit_linear_probe(" in code
    assert callable(linear_probe.fit_linear_probe)


def is_attribute_call(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
