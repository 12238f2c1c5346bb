import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.__main__ import main


@pytest.fixture(autouse=True)
def environment(monkeypatch, trained, tmp_path):
    """The command sets a variable of XLA; the images lie in the working folder."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    monkeypatch.chdir(tmp_path)
    for folder in ("pics", "pics/more"):
        (tmp_path / folder).mkdir()
    for row, name in enumerate(["pics/1.png", "pics/2.png", "pics/3.png", "pics/more/1.png"]):
        Image.fromarray(trained.images[row]).resize((20, 12)).save(tmp_path / name)


def predict(trained, *arguments):
    return main(["predict", str(trained.workdir), *arguments])


def files(folder):
    """Return all files under a folder by name, with what they hold."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_a_table_of_files_and_folders(trained, capsys):
    assert predict(trained, "pics/2.png", "pics") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        *("pics/2.png", "pics/1.png", "pics/3.png", "pics/more/1.png")
    ]
    assert [line.split()[3] for line in lines[:4]] == ["a/b", "猫", "CON", "dog"]
    assert lines[0].split()[2] == "%"
    assert lines[-1].startswith("Next: ")


def test_json_holds_labels_with_probabilities(trained, capsys):
    assert predict(trained, "pics", "--json", "--top=9") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] == 30
    assert found["failed"] == []
    first = found["images"][0]
    assert first["image"] == "pics/1.png"
    assert first["top"][0]["label"] == "猫"
    probabilities = [answer["probability"] for answer in first["top"]]
    assert len(probabilities) == 4
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-5)
    assert probabilities == sorted(probabilities, reverse=True)


def test_csv_has_a_line_for_each_image(trained, capsys):
    assert predict(trained, "pics", "--csv", "--top=2") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["image", "label", "probability", "label_2", "probability_2"]
    assert [row["label"] for row in rows] == ["猫", "a/b", "CON", "dog"]
    assert all(float(row["probability"]) > float(row["probability_2"]) for row in rows)


def test_broken_files_are_told_and_the_rest_goes_on(trained, tmp_path, capsys):
    (tmp_path / "pics" / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    assert predict(trained, "pics", "none.png", "empty", "--csv", "--top=1") == 3
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 5
    errors = printed.err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("imgrec_jax: expected ") for line in errors)
    assert sorted(
        word for word in ("pics/broken.jpg", "none.png", "empty") if word in printed.err
    ) == [*("empty", "none.png", "pics/broken.jpg")]


def test_nothing_readable_is_a_failure(trained, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    assert predict(trained, "broken.jpg") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


def test_copies_are_sorted_and_nothing_is_moved_or_overwritten(trained, tmp_path, capsys):
    images = files(tmp_path / "pics")
    (tmp_path / "pics" / "sorted" / "dog").mkdir(parents=True)
    (tmp_path / "pics" / "sorted" / "dog" / "1.png").write_bytes(b"mine")
    assert predict(trained, "pics", "--copy_to=pics/sorted") == 0
    expected = {
        "猫/1.png": images["1.png"],
        "a_b/2.png": images["2.png"],
        "CON_/3.png": images["3.png"],
        "dog/1.png": b"mine",
        "dog/1_2.png": images["more/1.png"],
    }
    assert files(tmp_path / "pics" / "sorted") == expected
    assert "Copied 4 images to pics/sorted" in capsys.readouterr().out
    assert predict(trained, "pics", "--copy_to=pics/sorted") == 0  # again: all is there
    assert files(tmp_path / "pics" / "sorted") == expected
    assert {k: v for k, v in files(tmp_path / "pics").items() if "sorted" not in k} == images


def test_what_is_not_sure_is_set_apart(trained, tmp_path):
    assert predict(trained, "pics", "--copy_to=out", "--min_prob=1") == 0
    assert sorted(files(tmp_path / "out")) == [
        *("unsure/1.png", "unsure/1_2.png", "unsure/2.png", "unsure/3.png")
    ]


def test_a_place_that_cannot_be_written_to_is_told(trained, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert predict(trained, "pics", "--copy_to=file") == 1
    assert "expected to copy pics/1.png to file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--top=0"], "expected --top to be a whole number from 1"),
        (
            ["--copy_to=out", "--min_prob=2"],
            "expected --min_prob to be a number from 0 to 1, got 2.0; try",
        ),
        (["--min_prob=0.5"], "expected --copy_to with --min_prob"),
        (["--json", "--csv"], "not allowed with"),
        (["--step=first"], "expected --step as a number, best or last, got 'first'"),
    ],
)
def test_wrong_flags_are_refused(trained, capsys, flags, message):
    with pytest.raises(SystemExit) as stopped:
        predict(trained, "pics", *flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


WATCHED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
            print("jax starts")
sys.meta_path.insert(0, Watch())
from imgrec_jax.__main__ import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""


def test_it_takes_no_memory_beforehand_and_speaks_ascii_where_it_must(trained, tmp_path):
    Image.fromarray(np.full((8, 8, 3), 30, np.uint8)).save(tmp_path / "黑.png")
    environment = {k: v for k, v in os.environ.items() if k != "XLA_PYTHON_CLIENT_PREALLOCATE"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(trained.workdir), ".", "--device=cpu", "--copy_to=out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "XLA_FLAGS": "", "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("jax starts\n")
    assert "Copied 5 images to out" in done.stdout
    assert (tmp_path / "out" / "a_b" / "2.png").exists()
