"""File and class names with escape sequences, line breaks, bidirectional marks and formulas."""

import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.__main__ import main

NAMES = ("=HYPERLINK(1)", "esc\x1b[31m", "two\nlines", "\u202egpj", "bell\x07")
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def hostile(tmp_path):
    """Two images of each class, in folders and files with such names, one of them damaged."""
    generator = np.random.default_rng(0)
    for name in NAMES:
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}{number}.png")
    damaged = tmp_path / "set" / NAMES[1] / f"{NAMES[1]}0.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    return tmp_path / "set"


def run(capsys, *arguments):
    """Return status, stdout and stderr, which hold no command to a terminal."""
    status = main(arguments)
    captured = capsys.readouterr()
    for text in captured:
        assert not _COMMANDS.search(text)
    return status, captured.out, captured.err


def test_inspect_escapes_them(hostile, tmp_path, capsys):
    source, out = f"folder:{hostile}", f"--out={tmp_path / 'sheet.png'}"
    status, text, _ = run(capsys, "data", "inspect", source, out)
    assert status == 3
    for shown in (r"esc\u001b[31m", r"two\nlines", r"\u202egpj", r"bell\u0007", "=HYPERLINK"):
        assert shown in text
    assert "\nlines" not in text
    _, text, _ = run(capsys, "data", "inspect", source, out, "--json")
    assert set(json.loads(text)["splits"]["train"]["classes"]) == set(NAMES)


def test_pack_refuses_a_line_break_in_a_class(hostile, tmp_path, capsys):
    """TFDS keeps class names as lines."""
    status, _, err = run(capsys, "data", "pack", f"folder:{hostile}", f"--out={tmp_path / 'p'}")
    assert status != 0
    assert err.startswith(r"imgrec_jax: expected ")
    assert r"two\nlines" in err
    assert len(err.splitlines()) == 1


def test_predict_escapes_them(trained, hostile, capsys):
    status, text, err = run(capsys, "predict", str(trained.workdir), str(hostile))
    assert status == 3
    assert r"two\nlines/two\nlines0.png" in text
    assert len(err.splitlines()) == 1
    assert r"esc\u001b[31m0.png" in err


def test_csv_cells_are_no_formulas(trained, hostile, capsys, monkeypatch):
    monkeypatch.chdir(hostile / NAMES[0])
    _, text, _ = run(capsys, "predict", str(trained.workdir), f"{NAMES[0]}0.png", "--csv")
    _, (image, *_) = csv.reader(io.StringIO(text))
    assert image == "'=HYPERLINK(1)0.png"
