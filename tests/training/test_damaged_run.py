"""A finished or stopped run with a damaged file: its command makes it whole again."""

import json
import shutil

import pytest
from damages import DAMAGES, damage

from imgrec_jax import main as command
from imgrec_jax.__main__ import main

pytestmark = pytest.mark.slow

FLAGS = [
    "--config=digits",
    "--config.epochs=2",
    "--config.checkpoint.keep=2",
    "--config.log.report=False",
]
TIMES = {
    "seconds",
    "examples_per_second",
    "peak_memory_bytes",
    "workdir",
    "command",
    "content_sha256",
}


def train(workdir):
    return command.main([*FLAGS, f"--workdir={workdir}"])


def content(workdir):
    found = json.loads((workdir / "result.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in TIMES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert train(workdir) == 0
    return workdir


@pytest.mark.parametrize("kind", ["{}", "a misspelt key", "no UTF-8", "deep", "missing"])
@pytest.mark.parametrize("name", ["result.json", "config.json", "metrics.jsonl", "newest"])
def test_the_same_command_makes_it_whole(finished, name, kind, tmp_path, capfd):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    path = workdir / name
    if name == "newest":
        path = workdir / "checkpoints" / "46" / "meta" / "metadata"
    if name in {"newest", "metrics.jsonl"}:  # a run that was killed before its end
        (workdir / "result.json").unlink()
    assert damage(path, kind)
    assert train(workdir) == 0
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert content(workdir) == content(finished)
    assert main(["evaluate", str(workdir)]) == 0


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "one byte more"])
def test_what_cannot_be_read_is_told_in_one_line(finished, kind, tmp_path, capfd):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    damage(workdir / "checkpoints" / "46" / "meta" / "metadata", kind)
    assert main(["evaluate", str(workdir)]) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "try step 23, or the training command again" in err
    assert main(["evaluate", str(workdir), "--step=23"]) == 0
