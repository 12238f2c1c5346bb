"""What the pages say exists: every verb, flag, key, file and extra, without running anything."""

import argparse
import ast
import importlib
import re
import shlex
import sys
import tomllib

import pytest
from pages import FOR_SPHINX, NOT_RUN, PAGES, ROOT, RUN, SHOWN, blocks, commands, read, why_not

from imgrec_jax.build.source_kinds import SOURCES
from imgrec_jax.cli.data import VERBS as DATA_VERBS
from imgrec_jax.cli.verbs import VERBS
from imgrec_jax.config import get_config, known_configs, parse_command_line
from imgrec_jax.core.nested import flatten

EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
)
BASH = [(page, block) for page in PAGES for block in blocks(page) if block.language == "bash"]
SYSTEM = {"sbatch", "kubectl", "chromium", "grep", "source"}


class Understood(Exception):  # noqa: N818 - what is hoped for
    """The arguments were parsed; nothing further is run."""


@pytest.fixture
def parse_alone(monkeypatch):
    """Let argparse end a command as soon as it has understood it."""
    parse = argparse.ArgumentParser.parse_known_args

    def parse_all(parser, *arguments):
        _, rest = parse(parser, *arguments)
        if rest:
            parser.error(f"unrecognized arguments: {rest}")
        raise Understood

    def parse_known(parser, *arguments):
        _, rest = parse(parser, *arguments)
        parse_command_line(["--config=base", *rest])  # what is not known is for the training
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_all)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known)


def check(words):
    """Raise where a command names a verb, flag, key, file or extra that does not exist."""
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    program, *rest = words
    if re.search(r"(^|/)python3?$", program) and rest[0] == "-m":
        check_module(*rest[1:])
    elif program.startswith("--config."):
        parse_command_line(["--config=base", *words])
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.M), words
    elif program.startswith("launch/"):
        assert (ROOT / program).is_file(), program
        if "--" in rest:
            check(rest[rest.index("--") + 1 :])
    elif program.endswith("pip"):
        check_pip(rest)
    elif re.search(r"(^|/)python3?$", program):
        assert (ROOT / rest[0]).is_file(), words
    else:
        assert program in SYSTEM, words
    if program in {"sbatch", "launch/tpu_vm.sh"}:  # they hand on what is for the training
        parse_command_line([word for word in rest if word.startswith(("--config", "--workdir"))])


def check_module(module, *rest):
    if module == "imgrec_jax":
        check_verb(*rest)
    elif module == "imgrec_jax.main":
        check_verb("train", *rest)
    elif module == "pip":
        check_pip(rest)
    elif module.startswith("benchmarks."):
        program = importlib.import_module(module)
        if rest:
            sys.argv = [module, *rest]
            with pytest.raises(Understood):
                program.main()
    else:
        assert module in {"pytest", "venv"}, module


def check_verb(verb, *rest):
    assert verb in VERBS, verb
    about_data = [word for word in rest if word.startswith("--config.data.")]
    if verb == "train":
        requested = parse_command_line(rest)
        assert requested.config.data.source.partition(":")[0] in SOURCES
    elif verb == "data":
        assert rest[0] in DATA_VERBS, rest
        parse_command_line(["--config=base", *about_data])
        with pytest.raises(Understood):
            VERBS[verb][0](list(rest))
    else:
        with pytest.raises(Understood):
            VERBS[verb][0](list(rest))


def check_pip(rest):
    assert rest[0] in {"install", "wheel"}, rest
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
        assert set(extra.split(",")) <= EXTRAS, rest


@pytest.mark.parametrize("page", sorted({page for page, _ in BASH}))
def test_every_command_is_understood(page, parse_alone, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    found = [
        words for block in blocks(page) if block.language == "bash" for words in commands(block)
    ]
    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("python -m imgrec_jax retrain --config=digits", AssertionError),
        ("python -m imgrec_jax evaluate runs/x --no-such-flag", SystemExit),
        ("python -m imgrec_jax data peek folder:x", AssertionError),
        ("make tea", AssertionError),
        ("python examples/nothing.py", AssertionError),
        ("pip install imgrec_jax[nothing]", AssertionError),
        ("curl somewhere", AssertionError),
    ],
)
def test_what_does_not_exist_is_noticed(words, error, parse_alone):
    with pytest.raises(error):
        check(words.split())


def quoted(pattern):
    """Return what stands between backticks in the text of any page and has this pattern."""
    spans = {span for page in PAGES for span in re.findall(r"`([^`\n]+)`", read(page))}
    return sorted(span for span in spans if re.fullmatch(pattern, span))


def test_every_flag_in_the_text_is_understood(parse_alone):
    flags = quoted(r"--config\.\S+=.*")
    assert len(flags) >= 12
    for flag in flags:
        check(shlex.split(flag))


def test_every_command_in_the_text_is_understood(parse_alone, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    programs = quoted(r"(python -m imgrec_jax|python -m benchmarks|launch/\S+\.sh) .*")
    assert len(programs) >= 2
    for program in programs:
        check(shlex.split(program))


def test_every_command_of_an_experiment_record_is_understood(parse_alone):
    """These records are what docs/recipes.md is made of."""
    for name in known_configs():
        tree = ast.parse((ROOT / f"configs/{name}.py").read_text(encoding="utf-8"))
        lines = ast.get_docstring(tree).replace("\\\n", " ").splitlines()
        found = [line.strip() for line in lines if line.startswith("    python -m")]
        assert any(re.search(rf"--config=(configs/)?{name}\b", line) for line in found), name
        for line in found:
            check(shlex.split(line))


@pytest.mark.parametrize("name", sorted(set(known_configs()) - {"base", "folder", "transfer"}))
def test_a_record_says_how_its_table_is_made_and_what_was_found(name):
    """`folder` is for data that we do not know, the table of `transfer` is a benchmark's."""
    record = ast.get_docstring(ast.parse((ROOT / f"configs/{name}.py").read_text(encoding="utf-8")))
    commands = record.replace("\\\n", " ")
    assert re.search(rf"^    python -m imgrec_jax sweep --config={name} --seeds=\d", commands, re.M)
    measured = re.search(r"^Measured\b", record, re.M)
    assert measured or re.search(r"[Nn]ot\s+measured", record)
    if measured:
        assert re.search(r"[Ss]eeds? \d", record)
    elif get_config(name).task.name == "classify" and name != "cifar100":
        assert re.search(r"Expected.*\d\d\.\d+( ± \d\.\d+)? %", record, re.DOTALL)


def test_every_key_in_the_text_exists():
    known = flatten(get_config("base").to_dict())
    blocks_of_keys = "data|optim|model|task|parallel|checkpoint|log"
    keys = quoted(rf"({blocks_of_keys})\.(?!txt|py|yaml)[a-z0-9_*.]+(=.*)?")
    assert len(keys) >= 30
    for key in keys:
        pattern = re.escape(key.partition("=")[0]).replace(r"\*", r"\w+")
        assert any(re.fullmatch(pattern, name) for name in known), key


def test_every_block_is_run_or_said_to_be_shown_alone():
    for page in PAGES:
        for block in blocks(page):
            where = f"{page}:{block.line}"
            assert block.language in RUN | SHOWN | FOR_SPHINX, where
            if block.language == "python":
                ast.parse(block.text, filename=where)


def test_what_is_not_run_has_its_reason(capsys):
    """The list is printed, and holds nothing that no page has."""
    lines = [line.strip() for _, block in BASH for line in block.text.splitlines()]
    for pattern, why in NOT_RUN.items():
        assert any(re.search(pattern, line) for line in lines), f"no page has {pattern}"
        print(f"not run: {pattern:<50} {why}")
    assert capsys.readouterr().out.count("not run") == len(NOT_RUN)
    assert not why_not("python -m imgrec_jax.main --config=configs/digits.py")
