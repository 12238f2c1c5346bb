"""The programs for a GPU, on whatever is at hand: sizes that mean nothing."""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from benchmarks import airbench, gpu, train_step
from benchmarks.steps import Steps, made_up, resident
from benchmarks.transfers import train_guarded
from benchmarks.turns import take_turns
from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment

COUNTING = """
import json, sys
for number, _ in enumerate(sys.stdin):
    print(json.dumps({"seconds": number, "accuracy": 0.5 + number / 100}), flush=True)
"""
FULL = {"data": "npz:x", "airbench94": "", "airbench96": "", "images": "", "first_seed": 0}


def tiny(**changes):
    made = made_up("convnet", 4, size=8, parallel__devices="1", model__convnet__width=1, **changes)
    return made


def test_programs_take_turns_until_their_time_is_over():
    command = {name: [sys.executable, "-c", COUNTING] for name in ("one", "other")}
    found = take_turns(command, 3, seconds=0.0)
    assert [block["seconds"] for block in found["other"]] == [1]


@pytest.mark.slow
def test_images_on_the_device_train_as_those_that_are_sent():
    sent = tiny(steps_per_call=4)
    kept = resident(sent)
    assert set(kept.train(0, 4)) == {"index", "mask", "epoch"}
    assert set(sent.train(0, 4)) == {"index", "mask", "epoch", "image", "label"}
    trained = []
    for made in (sent, kept):
        steps = Steps(made)
        steps.take(4)
        trained.append(jax.device_get(steps.state.params))
    jax.tree.map(np.testing.assert_array_equal, *trained)


def test_the_loop_sends_nothing_by_the_way():
    """JAX refuses what is not asked for; a CPU shows transfers to the device alone."""
    keys = {"data__source": "synthetic:8,8x8x3,3", "eval_batch_size": 4}
    made = tiny(**keys, optim__schedule="cosine")
    assert train_guarded(made) == 4


@pytest.mark.slow
def test_a_whole_run_is_that_of_its_seed():
    config = get_config(
        "digits", epochs=1, batch_size=899, model__convnet__width=1, parallel__devices="1"
    )
    run = airbench.whole_run(build_experiment(config))
    scores = [run(seed)["accuracy"] for seed in (0, 1, 0)]
    assert scores[0] == scores[2]
    assert scores[0] != scores[1]


def test_the_interval_of_a_mean():
    """Four values with deviation 2: twice 2 / sqrt(4)."""
    mean, within = airbench.interval([93.0, 93.0, 96.0, 96.0])
    assert mean == 94.5
    assert within == pytest.approx(3**0.5)


def test_utilisation_counts_the_networks_own_operations(capsys):
    """6 · 4.09e9 · 256 operations in 10 ms, beside matrices at 1e15 a second."""
    options = argparse.Namespace(model="resnet50", batch=256, steps=2, side=8192)
    found = {
        "imgrec_jax": [{"seconds": 0.02}],
        "matrices": [{"seconds": 0.5, "operations": 5e14}],
    }
    shares = train_step.utilisation(options, found)
    assert shares == {"imgrec_jax": pytest.approx(0.6282, rel=1e-3)}
    assert capsys.readouterr().out == "matrices of 8192: 1,000.0 TFLOP/s\n"


def test_all_parts_together_fit_into_nine_minutes():
    parts = gpu.parts(argparse.Namespace(**FULL, torch_python="python"))
    together = [part.seconds for name, part in parts.items() if name not in gpu.LONG]
    assert sum(together) <= gpu._WHOLE < 540
    assert all(part.seconds <= gpu._WHOLE for part in parts.values())


def test_a_part_that_gives_no_result_says_so_in_one_line():
    assert gpu.run(gpu.Part("airbench", 9, ["--data="]), 9, tiny=True).startswith("expected --data")
    assert gpu.run(gpu.Part("nothing", 9), 0, tiny=False) == "no time is left for it; try --parts"
    assert gpu.run(gpu.Part("nothing", 9), 9, tiny=False).startswith("ended with status 1")


def test_a_part_that_takes_too_long_ends_with_all_that_it_started(tmp_path, monkeypatch):
    """The part starts a program that would live for a minute."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "slow.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "child.wait()\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert gpu.run(gpu.Part("slow", 1), 9, tiny=False) == "not done after 1 s, ended; try --parts"
    child = int((tmp_path / "pid").read_text(encoding="utf-8"))
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.01)
    pytest.fail("the program of the part is alive")


def _runs(process):
    """Tell whether a process is alive; one that nobody has waited for yet is not."""
    status = f"/proc/{process}/status"
    if not os.path.exists(status):
        return False
    with open(status, encoding="utf-8") as file:
        return "State:\tZ" not in file.read()


@pytest.mark.slow
def test_all_parts_run_at_tiny_sizes(tmp_path):
    """One command does all of it; torch and a GPU may be missing."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, size in (("train", 1024), ("test", 64)):
        labels = np.arange(size) % 10
        noise = generator.integers(0, 60, (size, 32, 32, 3))
        arrays[f"{name}_images"] = (noise + 18 * labels[:, None, None, None]).astype(np.uint8)
        arrays[f"{name}_labels"] = labels
    np.savez(tmp_path / "tiny.npz", **arrays)
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", f"--data=npz:{tmp_path}/tiny.npz"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr
    assert [line["benchmark"] for line in lines] == [
        "airbench",
        *itertools.repeat("train_step", 3),
        *("together", "waiting", "modes", "memory", "deterministic", "transfers"),
    ]
    assert all(line["jax"] == jax.__version__ for line in lines)
