"""launch/tpu_vm.sh with a stand-in for gcloud: what it asks, and what the workers would do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "tpu_vm.sh"

# Writes its arguments down and, as the one worker of the slice, does what it is told in $WORKER.
GCLOUD = f"""#!{sys.executable}
import json, os, shutil, subprocess, sys
from pathlib import Path

with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
home, verb = os.environ["WORKER"], sys.argv[4]
if verb == "scp":
    shutil.copy(sys.argv[5], home)
    sys.exit(0)
(command,) = [a.partition("=")[2] for a in sys.argv if a.startswith("--command=")]
environment = dict(os.environ, HOME=home)
sys.exit(subprocess.run(["bash", "-c", command], cwd=home, env=environment).returncode)
"""

# A stand-in for python3 -m pip and uv: says what it was asked, makes the environment.
PYTHON3 = """#!/bin/sh
echo "python3 $*"
[ "$2 $3" = "uv venv" ] && mkdir -p .venv/bin
exit 0
"""


class Slice:
    """A TPU slice of one worker: its home, and the calls of gcloud that reached it."""

    def __init__(self, folder):
        self.home, self.calls = folder / "worker", folder / "calls"
        programs = folder / "bin"
        self.home.mkdir()
        programs.mkdir()
        for name, text in (("gcloud", GCLOUD), ("python3", PYTHON3)):
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "WORKER": str(self.home),
            "TPU_NAME": "my-tpu",
            "ZONE": "us-west4-a",
        }

    def run(self, *arguments, cwd=ROOT, **environment):
        return subprocess.run(
            [SCRIPT, *arguments],
            cwd=cwd,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def requests(self):
        return [json.loads(line) for line in self.calls.read_text(encoding="utf-8").splitlines()]

    def install(self, program):
        """Put a stand-in for the environment's python on the worker."""
        python = self.home / "imgrec_jax" / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        python.chmod(0o755)


@pytest.fixture
def tpu(tmp_path):
    return Slice(tmp_path)


def test_train_asks_all_workers_and_the_flags_arrive_word_by_word(tpu):
    tpu.install('for word in "$@"; do echo "<$word>"; done')
    done = tpu.run(
        "train", "--config=cifar10", "--config.augment=flip()|noise(0.1)", "--x=a b'$HOME"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "<-m>",
        "<imgrec_jax.main>",
        "<--config=cifar10>",
        "<--config.augment=flip()|noise(0.1)>",
        "<--x=a b'$HOME>",
        "<--config.parallel.multihost=auto>",
    ]
    (call,) = tpu.requests()
    assert call[:5] == ["compute", "tpus", "tpu-vm", "ssh", "my-tpu"]
    assert call[6:] == ["--worker=all", "--zone=us-west4-a"]


def test_train_passes_the_exit_status_on_and_keeps_the_log(tpu):
    tpu.install("echo saved; exit 75")
    assert tpu.run("train", "--config=cifar10").returncode == 75
    log = tpu.home / "imgrec_jax" / "train.log"
    assert log.read_text(encoding="utf-8") == "saved\n"


def test_train_without_setup_fails(tpu):
    done = tpu.run("train", "--config=cifar10")
    assert done.returncode != 0
    assert "imgrec_jax" in done.stderr


def test_a_project_is_named_where_there_is_one(tpu):
    tpu.install("true")
    tpu.run("train", PROJECT="my-project")
    assert tpu.requests()[0][6:] == ["--worker=all", "--zone=us-west4-a", "--project=my-project"]


def test_stop_reaches_the_training_and_train_says_how_it_ended(tpu):
    tpu.install("sleep infinity & trap 'kill $!; echo saved; exit 75' TERM; echo ready; wait")
    with subprocess.Popen(
        [SCRIPT, "train", "--config=cifar10"],
        cwd=ROOT,
        env=tpu.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as training:
        assert training.stdout.readline() == "ready\n"
        assert tpu.run("stop").stdout == ""
        assert training.stdout.read() == "saved\n"
    assert training.returncode == 75
    assert tpu.run("stop").stdout == "nothing runs here\n"


def test_stop_leaves_another_program_with_the_number_alone(tpu):
    tpu.install("true")
    (tpu.home / "imgrec_jax" / "train.pid").write_text(f"{os.getpid()}\n", encoding="utf-8")
    assert tpu.run("stop").stdout == "nothing runs here\n"


def test_setup_brings_the_commit_and_installs_it(tpu, tmp_path):
    clone = tmp_path / "clone"
    git = ["git", "-C", clone, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    for text in ("one", "two"):
        (clone / "file").write_text(text, encoding="utf-8")
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", text], check=True)
        done = tpu.run("setup", cwd=clone)
        assert done.returncode == 0, done.stderr
        brought = tpu.home / "imgrec_jax" / "file"
        assert brought.read_text(encoding="utf-8") == text
    there = subprocess.run(
        ["git", "-C", tpu.home / "imgrec_jax", "log", "--format=%s"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there.stdout == "two\none\n"
    assert done.stdout.splitlines() == [
        "python3 -m pip install --quiet --user uv",
        "python3 -m uv pip install --quiet --python .venv/bin/python "
        "--constraint constraints.txt --editable .[tpu]",
    ]
    assert [call[3] for call in tpu.requests()] == ["scp", "ssh", "scp", "ssh"]
    assert all("--worker=all" in call for call in tpu.requests())


def test_setup_says_that_changes_stay_here(tpu, tmp_path):
    clone = tmp_path / "clone"
    git = ["git", "-C", clone, "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "init", "--quiet", clone], check=True)
    (clone / "file").write_text("one", encoding="utf-8")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    (clone / "file").write_text("changed", encoding="utf-8")
    done = tpu.run("setup", cwd=clone)
    assert done.returncode == 0
    assert done.stderr == "tpu_vm.sh: changes that are not committed stay here\n"


@pytest.mark.parametrize("arguments", [[], ["start"]])
def test_another_verb_is_told_in_one_line(tpu, arguments):
    done = tpu.run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("tpu_vm.sh: expected setup, train or stop, got ")
    assert not tpu.calls.exists()


def test_a_slice_without_a_name_is_told_in_one_line(tpu):
    done = tpu.run("train", TPU_NAME="")
    assert done.returncode == 2
    assert done.stderr.startswith("tpu_vm.sh: expected TPU_NAME and ZONE in the environment; try ")
