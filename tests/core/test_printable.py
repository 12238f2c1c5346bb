"""Names that would reach a terminal or a spreadsheet as commands."""

import io
import json
import logging
import pickle
import sys

import pytest

from imgrec_jax.core.csv_text import csv_text
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.printable import printable, printable_output
from imgrec_jax.core.text_table import listing, shorten, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("猫 café 👩‍👩‍👧", "猫 café 👩‍👩‍👧"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("a\nb\r\tc\x07\x7f\x9b", r"a\nb\r\tc\u0007\u007f\u009b"),
        ("gpj.\u202eexe\u2066\u200f\u061c", r"gpj.\u202eexe\u2066\u200f\u061c"),
        ("a\u2028b\udcff", r"a\u2028b\udcff"),
    ],
)
def test_controls_and_bidi_marks_are_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert json.loads(f'"{printable(chr(0x7F))}"') == "\x7f"  # JSON stays JSON


def test_columns_stay_aligned():
    assert table([["a\nb", "1"], ["cat", "22"]], "<>") == [r"a\nb   1", "cat   22"]
    assert listing({"x": "a\x1bb"}) == [r"x  a\u001bb"]
    assert shorten("\n" * 9, 6) == r"\n\n.."


def test_an_error_has_one_line_an_argument():
    error = UsageError("got 'a\nb'", "try c")
    assert str(error) == "got 'a\\nb'\ntry c"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UserError("\x1b]0;title\x07")) == r"\u001b]0;title\u0007"


def test_what_is_printed_and_logged(capsys):
    logger = logging.getLogger("imgrec_jax.test")
    logger.propagate = False  # past pytest's own handlers
    before = sys.stdout
    with printable_output():
        print("a\tb\x1b[2J\nc\u202ed")
        print("\rprogress\x1b", "x\ry", file=sys.stderr, end="")
        logger.warning("%s: guessed", "a\nb\x07")
        assert sys.stdout.encoding == before.encoding
    assert sys.stdout is before
    captured = capsys.readouterr()
    assert captured.out == "a\tb\\u001b[2J\nc\\u202ed\n"
    assert captured.err == "\rprogress\\u001b x\\ry" + r"a\nb\u0007: guessed" + "\n"


def test_a_stream_without_a_buffer(monkeypatch):
    """As in a notebook."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with printable_output():
        print("\x1b")
    assert stream.getvalue() == "\\u001b\n"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("cat", "cat"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\uff1d1+1", "'\uff1d1+1"),
        (" =1", "' =1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("+0.0150 [-0.0485, +0.0785] (n = 3)", '"+0.0150 [-0.0485, +0.0785] (n = 3)"'),
        ("-nan", "-nan"),
        ("a\nb", r"a\nb"),
        ("\t=1", r"\t=1"),
        ('a"b,c', '"a""b,c"'),
    ],
)
def test_cells_that_begin_like_a_formula_are_quoted(cell, written):
    assert csv_text([["x", cell]]) == f"x,{written}\n"
