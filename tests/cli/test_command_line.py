"""The command line as a new user meets it: a process of its own, far from the clone."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

SHORT = [
    "--config=digits",
    "--config.epochs=2",
    "--config.model.convnet.width=4",
    "--config.model.convnet.hidden=8",
    "--config.log.report=False",
]


def imgrec(*arguments, cwd, module="imgrec_jax", **environment):
    """Run the command in an empty folder and return the finished process."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "XLA_FLAGS": "", **environment},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short finished run, and what its command printed."""
    folder = tmp_path_factory.mktemp("user")
    done = imgrec(*SHORT, "--workdir=run", cwd=folder, module="imgrec_jax.main", LANG="C")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_leaves_the_files_that_it_promises(finished):
    folder, done = finished
    run = folder / "run"
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["status"] == "finished"
    assert result["step"] == 46
    assert result["epochs"] == 2
    assert set(result["metrics"]) == {"test_loss", "test_accuracy", "test_top5_accuracy"}
    assert result["selected_on"] == "last"
    assert result["optimistic_best_on_test"]["test_accuracy"] >= result["metrics"]["test_accuracy"]
    assert {"total", "compile", "train", "eval"} <= set(result["seconds"])
    assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= set(result["versions"])
    for key in ("device", "devices", "processes", "parameters", "seed", "config_sha256"):
        assert key in result
    for key in ("git_commit", "git_dirty", "command", "data_fingerprint", "examples_per_second"):
        assert key in result
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [e["step"] for e in events if e["kind"] == "eval"] == [23, 46]
    assert [e["step"] for e in events if e["kind"] == "train"] == [23, 46]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["23", "46"]
    assert list(run.glob("events.out.tfevents.*"))
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["name"] == "convnet"
    assert config["model"]["convnet"] == {"width": 4, "hidden": 8, "remat": False}
    assert "python -m imgrec_jax evaluate" in done.stdout


def test_a_finished_run_says_so_and_trains_nothing(finished):
    folder, _ = finished
    before = (folder / "run" / "metrics.jsonl").read_bytes()
    again = imgrec(*SHORT, "--workdir=run", cwd=folder, module="imgrec_jax.main")
    assert again.returncode == 0
    assert "This run is finished" in again.stdout
    assert re.search(r"\n {10}accuracy +\d\.\d{4}\n", again.stdout)
    assert "--resume=accept-changes" in again.stdout
    assert "--workdir" in again.stdout
    assert (folder / "run" / "metrics.jsonl").read_bytes() == before


def test_a_changed_config_is_told_and_refused(finished):
    folder, _ = finished
    changed = imgrec("train", *SHORT, "--workdir=run", "--config.epochs=3", cwd=folder)
    assert changed.returncode == 2
    assert "epochs: 2 -> 3" in changed.stderr
    assert "--resume=accept-changes" in changed.stderr
    assert "run_2" in changed.stderr
    assert "Traceback" not in changed.stderr


def test_logging_may_change(finished):
    folder, _ = finished
    same = imgrec("train", *SHORT, "--workdir=run", "--config.log.every_steps=7", cwd=folder)
    assert same.returncode == 0
    assert "This run is finished" in same.stdout


def test_evaluate_gives_the_scores_of_the_result(finished):
    folder, _ = finished
    result = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))
    scored = imgrec("evaluate", "run", "--json", "--device=cpu", cwd=folder)
    assert scored.returncode == 0, scored.stderr
    answer = json.loads(scored.stdout)
    assert answer["step"] == 46
    assert answer["metrics"]["test_accuracy"] == result["metrics"]["test_accuracy"]
    assert answer["metrics"]["test_loss"] == pytest.approx(result["metrics"]["test_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "expected --config=FILE, got none; try --config=configs/cifar10.py"),
        (["--config=digit"], "unknown config 'digit'; did you mean 'digits'?"),
        (["--config=configs/cifra10.py"], "did you mean 'cifar10'?"),
        (
            ["--config=digits", "--config.optim.learning_rte=1"],
            "did you mean 'optim.learning_rate'?",
        ),
        (["--config=digits", "--config.epochs=many"], "--config.epochs=many"),
        (["--config=digits", "--config.epochs=0"], "expected epochs to be a whole number from 1"),
        (
            ["--config=digits", "--config.optim.learning_rate=nan"],
            "learning_rate to be a number above 0",
        ),
        (
            ["--config=digits", "--config.precision=half"],
            "precision to be float32, tf32 or bfloat16",
        ),
        (["--config=digits", "--config.model.name=convnt"], "did you mean 'convnet'?"),
        pytest.param(
            ["--config=digits", "--config.augment=flpi"],
            "did you mean 'flip'?",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--config=digits", "--config.optim.name=adm"],
            "did you mean 'adam'?",
            marks=pytest.mark.slow,
        ),
        (["--config=digits", "--config.data.source=fodler:x"], "did you mean 'folder'?"),
        (
            ["--config=digits", "--config.batch_size=63", "--config.parallel.cpu_devices=2"],
            "62 or 64",
        ),
        pytest.param(
            ["--config=digits", "--config.parallel.mode=pmpa"],
            "did you mean 'pmap'?",
            marks=pytest.mark.slow,
        ),
        (["--config=digits", "--workdri=x"], "workdir"),
        (["--config=no/such/place/digits.py"], "unknown config 'digits'"),
        (
            ["--config=digits", "--config.model.convnet.width=0"],
            "width to be a whole number from 1 to",
        ),
        (["--config=digits", "--config.augment=pad_crop(pad='x')"], "expected pad_crop(pad=...)"),
        pytest.param(
            ["--config=digits", "--config.augment=flip(probability=7)"],
            "probability in 0 .. 1",
            marks=pytest.mark.slow,
        ),
        (
            ["--config=digits", "--config.task.label_smoothing=5"],
            "label_smoothing to be a number from 0 to below 1",
        ),
        (["--config=digits", "--config.data.image_size=16"], "expected data.image_size=0"),
        (["--config=digits", "--config.parallel.cpu_devices=1000"], "at most"),
        (["--config=digits", "stray"], "got 'stray'"),
    ],
)
def test_a_wrong_command_gets_one_line_and_status_2(tmp_path, flags, message):
    done = imgrec("train", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_lists_verbs_and_keys_without_loading_jax(tmp_path):
    verbs = imgrec(cwd=tmp_path)
    assert verbs.returncode == 0
    assert "evaluate" in verbs.stdout
    assert "Next: " in verbs.stdout
    check = (
        "import sys; from imgrec_jax.__main__ import main; status = main(['train', '--help']); "
        "assert 'jax' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "optim.learning_rate = 0.001" in done.stdout


def test_an_unknown_verb_gets_a_suggestion(tmp_path):
    done = imgrec("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'train'?" in done.stderr


LONG = [
    "train",
    "--config=digits",
    "--config.epochs=3",
    "--config.model.convnet.width=4",
    "--config.model.convnet.hidden=8",
    "--config.augment=pad_crop(pad=1)",
    "--config.checkpoint.every_steps=7",
    "--config.log.every_steps=5",
    "--config.checkpoint.keep=20",
]


def scores(run):
    """Return all logged events but their rates, which no two runs share."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in event.items() if k != "images_per_second"} for event in events]


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole = imgrec(*LONG, "--workdir=whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(
        [sys.executable, "-m", "imgrec_jax", *LONG, "--workdir=stopped"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as stopped:
        lines = iter(stopped.stdout.readline, "")
        assert any(line.startswith("epoch   1") for line in lines)
        stopped.send_signal(signal.SIGTERM)
        output = stopped.stdout.read()
    assert stopped.returncode == 75, output
    assert "The same command resumes it" in output
    again = imgrec(*LONG, "--workdir=stopped", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert scores(tmp_path / "stopped") == scores(tmp_path / "whole")
    one, other = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "stopped")
    )
    assert one["metrics"] == other["metrics"]
    restored = subprocess.run(
        [sys.executable, "-c", COMPARE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert restored.returncode == 0, restored.stderr


COMPARE = """
import imgrec_jax, jax, numpy as np
one, other = (imgrec_jax.load(name) for name in ("whole", "stopped"))
assert one.step == other.step == 69
jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
"""


@pytest.mark.slow
def test_a_diverged_run_names_step_and_checkpoint(tmp_path):
    flags = ["--config.optim.learning_rate=1e30", "--config.optim.schedule=constant"]
    done = imgrec("train", *SHORT, *flags, "--workdir=run", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected a finite loss, got NaN or infinity at step" in done.stderr
    assert "last good checkpoint: none" in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_a_held_out_val_split_selects_the_best(tmp_path):
    done = imgrec("train", *SHORT, "--config.data.holdout=0.2", "--workdir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["selected_on"] == "val_accuracy"
    assert "optimistic_best_on_test" not in result
    assert {"val_accuracy", "test_accuracy"} <= set(result["metrics"])


@pytest.mark.slow
def test_images_of_your_own(tmp_path):
    """A folder of class folders with Chinese names, on a machine that speaks only ASCII."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for label, name in enumerate(["猫", "狗"]):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(20):
            noise = generator.integers(0, 60, (8, 8, 3)) + 150 * label
            Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")
    flags = [
        "--config.data.source=folder:pets",
        "--config.data.holdout=0.5",
        "--config.batch_size=16",
    ]
    done = imgrec("train", *SHORT, *flags, "--workdir=run", cwd=tmp_path, LANG="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "20 training images are few" in done.stderr
    scored = imgrec("evaluate", "run", "--json", "--data=folder:pets", cwd=tmp_path)
    assert json.loads(scored.stdout)["metrics"]["train_accuracy"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("size", [2_000, 500_000])
def test_a_full_disk_is_told_in_one_line(tmp_path, size):
    """Files cannot grow beyond `size` bytes: at first the log stops there, then a checkpoint."""
    pytest.importorskip("resource")
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        "import sys; from imgrec_jax.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "--config=digits", "--config.epochs=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("imgrec_jax: expected to write ")
    assert str(tmp_path / "runs" / "digits") in done.stderr
    assert "try again with room on the disk" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_workdir_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = imgrec("train", *SHORT, "--workdir=file/run", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected a folder that can be written to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_command_that_failed_binds_nobody(tmp_path):
    wrong = imgrec("train", *SHORT, "--config.data.source=folder:nowhere", cwd=tmp_path)
    assert wrong.returncode in {1, 2}
    diverged = imgrec("train", *SHORT, "--config.optim.learning_rate=1e30", cwd=tmp_path)
    assert diverged.returncode == 1
    right = imgrec("train", *SHORT, cwd=tmp_path)
    assert right.returncode == 0, right.stderr
