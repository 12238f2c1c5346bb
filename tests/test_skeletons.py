"""Six skeleton tasks in the shape in which a user writes one: all verbs work without more.

Each is one file of `tests/skeletons`, one row of the table of tasks, and one config.
"""

import json
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from small import SKELETONS as FOLDER
from small import skeleton, write_strings

import imgrec_jax
from imgrec_jax.__main__ import main
from imgrec_jax.build import tasks

NAMES = sorted(path.stem for path in FOLDER.glob("toy_*.py"))
GENERATING = {"toy_diffusion", "toy_gan"}
TINY = {"epochs": 2, "batch_size": 64, "checkpoint__keep": 3, "parallel__mode": "pmap"}


@pytest.fixture
def config(request, tmp_path, monkeypatch):
    """The config of a skeleton at a tiny size, its row in the table, its data made."""
    name = request.param
    module = skeleton(name)
    monkeypatch.setitem(tasks.TASKS, name, module.SPEC)
    config = module.get_config()
    for key, value in TINY.items():
        block, _, last = key.replace("__", ".").rpartition(".")
        (config[block] if block else config)[last] = value
    if name == "toy_sequence":
        config.data.source = f"npz:{write_strings(tmp_path / 'strings.npz')}"
    if name == "toy_episodes":
        config.batch_size = 16
    return config.lock()


every_skeleton = pytest.mark.parametrize("config", NAMES, indirect=True)


@every_skeleton
def test_it_trains_scores_predicts_loads_and_reports(config, tmp_path, capsys):
    run = imgrec_jax.train(config, tmp_path / "run")
    name, headline = config.task.name, run.task.headline
    assert f"test_{headline.name}" in run.metrics
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000

    loaded = imgrec_jax.load(tmp_path / "run")
    assert loaded.facts["element_spec"] == run.facts["element_spec"]
    for one, other in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(run.params), strict=True):
        np.testing.assert_array_equal(one, other)
    scored = loaded.evaluate()["test"].metrics
    assert scored[headline.name] == pytest.approx(run.metrics[f"test_{headline.name}"], abs=1e-5)

    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["task"] == name
    assert main(["report", str(tmp_path / "run")]) == 0

    if name in GENERATING:
        images = loaded.sample(5, seed=3)
        assert images.shape == (5, 8, 8, 1)
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(loaded.sample(3, seed=3), images[:3])
        assert not np.array_equal(loaded.sample(3, seed=4), images[:3])
        out = tmp_path / "out"
        assert main(["sample", str(tmp_path / "run"), "--n=5", "--seed=3", f"--out={out}"]) == 0
        written = [read_png(out / f"seed3_{k}.png")[..., :1] for k in range(5)]
        np.testing.assert_array_equal(written, images)
        assert read_png(out / "grid.png").shape == (9 + 1, 5 * 9 + 1, 3)
    else:
        fields = next(iter(first_batch(loaded)))
        answer = loaded.predict(fields)
        assert {len(leaf) for leaf in jax.tree.leaves(answer)} == {3}


def read_png(path):
    with Image.open(path) as image:
        return np.asarray(image)


def first_batch(run):
    """Yield three held-out examples, in the form of the run's fields."""
    from imgrec_jax.data.loading.batches import EvalBatches

    batches = EvalBatches(run.open()["test"], 3, sampling=run.config.data.eval_sampling)
    yield {name: array for name, array in batches(0).items() if name in run.facts["element_spec"]}


@pytest.mark.parametrize(
    "config",
    # With two optimizers, of which one rests; the others keep the same law as tasks.
    [pytest.param(n, marks=[pytest.mark.slow] * (n != "toy_gan")) for n in NAMES],
    indirect=True,
)
def test_a_killed_run_goes_on_bit_for_bit(config, tmp_path):
    """SIGKILL ends a process of its own in the middle of the run, so nothing can be tidied up."""
    whole = imgrec_jax.train(config, tmp_path / "whole")
    with config.unlocked():
        config.checkpoint.every_steps = 1  # so that there is one before the evaluation
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    program = [sys.executable, "-c", KILLED, config.task.name, settings, tmp_path / "killed"]
    done = subprocess.run(
        list(map(str, program)), cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(path.name.isdigit() for path in (tmp_path / "killed" / "checkpoints").iterdir())
    resumed = imgrec_jax.train(config, tmp_path / "killed")
    assert resumed.step == whole.step
    for one, other in zip(
        jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True
    ):
        np.testing.assert_array_equal(one, other)


KILLED = """
import json, os, signal, sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 8)
from ml_collections import ConfigDict
from small import skeleton

import imgrec_jax
from imgrec_jax.build import tasks
from imgrec_jax.training.workdir.files import Workdir

name, settings, workdir = sys.argv[1:]
tasks.TASKS[name] = skeleton(name).SPEC
append = Workdir.append_metrics


def die_after_the_first_epoch(self, event):
    append(self, event)
    if event["kind"] == "eval":
        os.kill(os.getpid(), signal.SIGKILL)


Workdir.append_metrics = die_after_the_first_epoch
config = ConfigDict(json.loads(Path(settings).read_text("utf-8"))).lock()
imgrec_jax.train(config, workdir)
"""


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short(name):
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 80
