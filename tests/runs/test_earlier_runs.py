"""Runs that earlier versions wrote answer as they did, and go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import imgrec_jax
from imgrec_jax.config import parse_command_line
from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.workdir.files import Workdir

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_runs"
RUNS = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", RUNS)
def test_an_earlier_run_predicts_what_it_did(name):
    run = imgrec_jax.load(FOLDER / name)
    expected = dict(np.load(FOLDER / name / "expected.npz"))
    answer = run.predict(expected.pop("images"))
    found = answer if isinstance(answer, dict) else {"probabilities": answer}
    assert {f"out_{key}" for key in found} == set(expected)
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[f"out_{key}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_an_earlier_run_shows_its_result(name):
    result = json.loads((FOLDER / name / "result.json").read_text(encoding="utf-8"))
    assert imgrec_jax.load(FOLDER / name).result == result


def test_an_earlier_run_goes_on(tmp_path):
    """With the keys of its own version: a command of today would spell some in another way."""
    shutil.copytree(FOLDER / "classify", tmp_path / "run")
    run = imgrec_jax.load(tmp_path / "run")
    config = run.config.copy_and_resolve_references().unlock()
    config.epochs += 1
    after = imgrec_jax.train(config.lock(), tmp_path / "run", accept_changes=True)
    assert after.step == run.step + run.step // 8
    assert after.metrics["test_accuracy"] > 0.8
    events = Workdir(tmp_path / "run").read_metrics()
    assert [event["step"] for event in events if event["kind"] == "eval"][-2:] == [184, 207]


def test_keys_of_an_earlier_version_answer_under_their_new_names():
    config = imgrec_jax.load(FOLDER / "classify").config
    assert (config.mix, config.tta) == ("mixup(alpha=0.2)", "flip")
    assert "mixing" not in config
    assert "eval_views" not in config


@pytest.mark.parametrize(("old", "new"), [("mixing", "mix"), ("eval_views", "tta")])
def test_the_command_line_says_the_new_name(old, new):
    with pytest.raises(UsageError, match=rf"'{new}', got '{old}'.*try --config\.{new}"):
        parse_command_line(["--config=digits", f"--config.{old}=flip"])
