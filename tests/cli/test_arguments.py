"""Flags with a range: every verb refuses what means nothing in one line, before JAX starts."""

import contextlib
import re
from pathlib import Path

import pytest

import imgrec_jax.cli
from imgrec_jax.__main__ import main
from imgrec_jax.cli.arguments import Parser
from imgrec_jax.core.ranges import COUNT, FRACTION

VERBS = {
    "evaluate": ["evaluate", "RUN"],
    "predict": ["predict", "RUN", "x.png"],
    "probe": ["probe", "RUN"],
    "sample": ["sample", "RUN"],
    "report": ["report", "RUN"],
    "sweep": ["sweep", "--config=digits"],
    "pack": ["data", "pack", "digits", "--out=x"],
}
NOT_ZERO = {
    "predict": ("--top",),
    "probe": ("--neighbours", "--ways", "--episodes"),
    "sample": ("--n",),
    "sweep": ("--seeds",),
}
ZERO_TOO = {
    "predict": ("--min_prob", "--port"),
    "probe": ("--examples_per_class", "--seed", "--image_size"),
    "sample": ("--seed",),
    "sweep": ("--jobs",),
    "pack": ("--shards", "--workers"),
}
WORDS = {
    "evaluate": ("--step", "--weights", "--device"),
    "predict": ("--step", "--weights", "--device"),
    "probe": ("--step", "--weights", "--device"),
    "sample": ("--step", "--weights", "--device"),
    "report": ("--step", "--device", "--format"),
    "sweep": ("--device", "--backend"),
}
NUMBERS = ("-1", "nan", "inf", "1e308", "1" + "0" * 21, "1" + "0" * 5000, "", "x", "0x1")


def pairs(table):
    return [(verb, flag) for verb, flags in table.items() for flag in flags]


def refused(capsys, verb, text):
    """Return whether a flag ends the command with status 2 and one helpful line."""
    with pytest.raises(SystemExit) as stopped:
        main([*VERBS[verb], text])
    out, err = capsys.readouterr()
    pattern = rf"imgrec_jax: expected {text.partition('=')[0]} .*, got .*; (try|did you mean) .*\n"
    return stopped.value.code == 2 and not out and re.fullmatch(pattern, err) and len(err) < 200


@pytest.mark.parametrize(("verb", "flag"), pairs(NOT_ZERO) + pairs(ZERO_TOO))
def test_a_number_that_means_nothing_is_refused(capsys, verb, flag):
    texts = (*NUMBERS, "0") if flag in NOT_ZERO.get(verb, ()) else NUMBERS
    assert [text for text in texts if not refused(capsys, verb, f"{flag}={text}")] == []


@pytest.mark.parametrize(("verb", "flag"), pairs(WORDS))
def test_another_word_is_refused(capsys, verb, flag):
    texts = ("nonsense", "-1", "9" * 5000) if flag == "--step" else ("nonsense", "-1", "cp")
    assert [text for text in texts if not refused(capsys, verb, f"{flag}={text}")] == []


def test_flags_of_sbatch_are_split_as_a_shell_splits_them(capsys):
    assert refused(capsys, "sweep", '--sbatch="')


@pytest.mark.parametrize(
    "arguments", [["train", "--workdir="], ["sweep", "--workdir="], ["train", "--plan="]]
)
def test_an_empty_folder_or_plan_is_refused(capsys, arguments):
    with contextlib.suppress(SystemExit):
        assert main([*arguments, "--config=digits"]) == 2
    assert "got ''; try " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["predict"], ["sample", "RUN", "--nn=3"], ["sweep"]])
def test_a_missing_or_unknown_argument_gets_one_line_with_advice(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert re.fullmatch(r"imgrec_jax: .*; try .*\n", line)


def test_a_flag_in_its_range_is_read():
    parser = Parser(prog="p")
    parser.add_setting("--n", COUNT(3))
    parser.add_setting("--part", FRACTION(0.5))
    assert vars(parser.parse_args([])) == {"n": 3, "part": 0.5}
    assert vars(parser.parse_args(["--n=7", "--part=1"])) == {"n": 7, "part": 1.0}


def test_no_verb_reads_numbers_without_a_range():
    folder = Path(imgrec_jax.cli.__path__[0])
    sources = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    assert [name for name, text in sources.items() if re.search(r"type=(int|float)", text)] == []
