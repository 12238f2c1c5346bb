"""`data inspect`, `data pack` and `data cache`, as a user types them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


def imgrec(*arguments, cwd, **environment):
    """Run `imgrec_jax data ...` in a folder and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "imgrec_jax", "data", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def images(tmp_path):
    """A folder with 6 + 2 images, one of them damaged, one in both splits."""
    generator = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 2)):
        for row in range(n):
            path = tmp_path / "images" / split / ("猫", "dog")[row % 2] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (12 + row, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    first, again, last = (f"train/猫/{0}.png", f"test/dog/{1}.png", f"train/dog/{5}.png")
    folder = tmp_path / "images"
    (folder / again).write_bytes((folder / first).read_bytes())
    (folder / last).write_bytes((folder / last).read_bytes()[:-30])
    return folder


def test_inspect_shows_all_that_is_wrong(images, tmp_path):
    done = imgrec("inspect", "folder:images", cwd=tmp_path, LANG="C")
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "folder:images"
    assert "train       6        1     16  12 / 14 / 16" in done.stdout
    assert "猫         3     1" in lines
    assert "2 classes; in train the largest has 1.0 times as many images as the smallest" in lines
    assert "damaged: 1" in lines
    assert "images/train/dog/5.png: it is truncated" in done.stdout
    repeats = "same pixels in two splits: 1, 1 of them with another class (remove them from one)"
    assert repeats in lines
    assert "  images/test/dog/1.png = images/train/猫/0.png" in lines
    assert lines[-2] == "Some images of each class: contact_sheet.png"
    assert lines[-1].startswith("Next: python -m imgrec_jax train --config=")
    assert lines[-1].endswith(
        "--config=folder --config.data.source=folder:images --config.data.image_size=14 "
        "--config.data.broken=skip-and-count"
    )
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.height == 16 + 34 + 2 * 102 - 6 + 16
    assert "Traceback" not in done.stderr


def test_pack_then_inspect(images, tmp_path):
    done = imgrec("pack", "folder:images", "--out=packed", "--workers=2", cwd=tmp_path, LANG="C")
    assert done.returncode == 3, done.stderr
    assert "train       5      1  0.1 MiB" in done.stdout
    assert "damaged and left out: 1" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "Next: python -m imgrec_jax data inspect array_record:packed"
    )
    found = imgrec("inspect", "array_record:packed", "--json", "--out=look", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report["splits"]["train"]["classes"] == {"dog": 2, "猫": 3}
    assert report["splits"]["test"]["images"] == 2
    assert [(r["again"][-7:], r["first"][-8:]) for r in report["repeats"]] == [
        ("test[0]", "train[2]")
    ]
    assert report["contact_sheet"] == "look/contact_sheet.png"
    assert (tmp_path / "look" / "contact_sheet.png").is_file()
    again = imgrec("pack", "folder:images", "--out=packed", "--json", cwd=tmp_path)
    assert again.returncode == 3
    assert json.loads(again.stdout)["kept_files"] == 2


def test_flags_about_the_data_are_those_of_training(tmp_path):
    for row in range(4):
        path = tmp_path / "flat" / f"{'ab'[row % 2]}_{row}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (row, 0, 0)).save(path)
    pattern = "--config.data.label_pattern=(?P<label>[a-z])_"
    done = imgrec("inspect", "folder:flat", pattern, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["splits"]["train"]["classes"] == {"a": 2, "b": 2}


def test_cache_shows_and_empties(tmp_path):
    home = tmp_path / "home"
    (home / "compiled").mkdir(parents=True)
    (home / "compiled" / "step").write_bytes(bytes(3 << 20))
    shown = imgrec("cache", cwd=tmp_path, IMGREC_JAX_CACHE=str(home))
    assert shown.returncode == 0
    assert "3.0 MiB  0 minutes ago  compiled programs" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "Next: python -m imgrec_jax data cache --clear"
    cleared = imgrec("cache", "--clear", "--json", cwd=tmp_path, IMGREC_JAX_CACHE=str(home))
    assert json.loads(cleared.stdout)["entries"][0]["what"] == "compiled programs"
    assert list(home.iterdir()) == []
    empty = imgrec("cache", cwd=tmp_path, IMGREC_JAX_CACHE=str(home))
    assert empty.stdout.splitlines()[0] == f"{home} is empty."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pak", "digits"], "unknown verb of data 'pak'; did you mean 'pack'?"),
        (["inspect", "fodler:x"], "did you mean 'folder'?"),
        (["inspect", "folder:x"], "which does not exist"),
        (["inspect", "."], "expected SOURCE to be kind:where, got '.'; try folder:."),
        (["pack", "digits", "--out=x", "--workers=-1"], "expected --workers to be a whole"),
        (["inspect", "digits", "--config.data.image_sice=3"], "did you mean 'data.image_size'?"),
    ],
)
def test_a_wrong_command_gets_one_line_and_status_2(tmp_path, arguments, message):
    done = imgrec(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unwritable_sheet_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = imgrec("inspect", "digits", "--out=file/sheet.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "imgrec_jax: expected to write file/sheet.png, got File exists; try another --out\n"
    )


@pytest.mark.parametrize("arguments", [["pack", "digits"], ["inspect"], ["cache", "--claer"]])
def test_missing_and_misspelt_flags_get_status_2(tmp_path, arguments):
    done = imgrec(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_and_data_without_jax(tmp_path):
    check = (
        "import sys; from imgrec_jax.__main__ import main\n"
        "for verb in ([], ['inspect', '--help'], ['pack', '--help'], ['cache', '--help'],\n"
        "             ['pack', 'digits', '--out=packed'], ['inspect', 'array_record:packed']):\n"
        "    try:\n"
        "        assert main(['data', *verb]) == 0\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0\n"
        "assert 'jax' not in sys.modules\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    script = tmp_path / "check.py"
    script.write_text(f"if __name__ == '__main__':\n    exec({check!r})", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "inspect" in done.stdout
    assert "--config.data.KEY=VALUE sets options of SOURCE" in done.stdout
