"""Weights & Biases: what is handed to it, and a run that it keeps offline."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.training.logging.weights_and_biases import WandbRun
from imgrec_jax.training.step.histograms import Histogram
from imgrec_jax.training.workdir.files import Workdir

HISTOGRAM = Histogram(-1.0, 1.0, np.array([1, 3]), 2.0, 4.0)


@pytest.fixture
def wandb_calls(monkeypatch):
    """A module in the place of wandb; what it is told."""
    calls = []

    def log(values, step):
        calls.append((step, values))

    def finish(exit_code):
        calls.append(exit_code)

    run = SimpleNamespace(log=log, finish=finish)

    def init(**settings):
        calls.append(settings)
        return run

    fake = SimpleNamespace(
        init=init,
        Settings=dict,
        Error=RuntimeError,
        Histogram=lambda np_histogram: [part.tolist() for part in np_histogram],
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return calls


def test_a_run_that_goes_on_is_the_same_one(wandb_calls, tmp_path):
    first = WandbRun(Workdir(tmp_path), {"seed": 0})
    first.scores(5, {"train/loss": 0.5})
    first.histograms(5, {"w": HISTOGRAM})
    first.close()
    second = WandbRun(Workdir(tmp_path), {"seed": 0})
    second.finish()
    second.close()
    begun, scores, histogram, stopped, again, finished = wandb_calls
    assert begun["config"] == {"seed": 0}
    assert begun["name"] == tmp_path.name
    assert scores == (5, {"train/loss": 0.5})
    assert histogram == (5, {"w": [[1, 3], [-1.0, 0.0, 1.0]]})
    assert (stopped, finished) == (1, 0)
    assert begun["id"] == again["id"]
    assert begun["resume"] == "allow"


def test_what_is_missing_is_told_in_one_line(wandb_calls, tmp_path, monkeypatch):
    def refuse(**settings):
        raise RuntimeError("no account\n  log in first")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(UserError, match="got 'no account log in first'; try WANDB_MODE=offline"):
        WandbRun(Workdir(tmp_path), {})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"try pip install 'imgrec_jax\[wandb\]'"):
        WandbRun(Workdir(tmp_path), {})


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs the extra wandb")
def test_a_training_is_kept_offline(tmp_path):
    flags = ["--config=digits", f"--workdir={tmp_path / 'run'}", "--config.epochs=1"]
    flags += ["--config.log.wandb=True", "--config.log.histograms_every=20"]
    done = subprocess.run(
        [sys.executable, "-m", "imgrec_jax.main", *flags],
        env={**os.environ, "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    kept = log.read_bytes()
    for name in (b"test/accuracy", b"gradients/conv1/kernel", b"optim.learning_rate"):
        assert name in kept
