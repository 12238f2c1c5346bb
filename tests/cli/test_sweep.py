"""The verb `sweep`; the training command is played by a script that leaves what a run leaves."""

import json
import math
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from imgrec_jax.__main__ import main
from imgrec_jax.build import experiment
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.stop_signals import STOP_SIGNALS
from imgrec_jax.sweeps import grid, vmap_sweep
from imgrec_jax.training.host.signals import Interrupted
from imgrec_jax.training.workdir.files import Workdir

PYTHON = sys.executable
# Accuracy is the seed in hundredths over the learning rate; a rate of 0.5 fails.
RUN = """#!/bin/sh
for argument; do
  case $argument in
    --workdir=*) workdir=${argument#*=} ;;
    --config.seed=*) seed=${argument#*=} ;;
    --config.optim.learning_rate=*) rate=${argument#*=} ;;
  esac
done
echo "cores $(nproc)"
echo once >>"$workdir/started"
if [ "$rate" = 0.5 ]; then echo 'imgrec_jax: expected a finite loss, got NaN'; exit 1; fi
if [ -n "$WAIT" ]; then echo "$PPID" >"$WAIT"; cat; echo saved >"$WAIT"; exit 75; fi
echo "{\\"seed\\": $seed, \\"optim\\": {\\"learning_rate\\": $rate}}" >"$workdir/config.json"
echo "{\\"status\\": \\"finished\\", \\"metrics\\": {\\"test_accuracy\\": $rate$seed},
  \\"seconds\\": {\\"total\\": 3.2}, \\"data_fingerprint\\": \\"x\\"}" >"$workdir/result.json"
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Work in tmp_path, with a stand-in for the training command."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "run"
    script.write_text(RUN, encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(sys, "executable", str(script))
    return script


LOCAL = ("--backend=local", "--jobs=1")


def test_each_cell_runs_with_each_seed_and_the_table_compares(command, tmp_path, capsys):
    flag = "--grid=optim.learning_rate=0.1,0.2"
    assert main(["sweep", "--config=digits", "--seeds=2", flag, *LOCAL, "--jobs=2"]) == 0
    out = capsys.readouterr().out
    folders = sorted(p.parent for p in tmp_path.glob("runs/digits_sweep/*/*/result.json"))
    assert [f"{f.parent.name}/{f.name}" for f in folders] == [
        f"optim.learning_rate={rate}/seed{seed}" for rate in ("0.1", "0.2") for seed in (0, 1)
    ]
    assert "0.1050 ± 0.0071" in out  # 0.10 and 0.11
    assert "+0.1000 (n = 2)" in out  # too few seeds for an interval
    assert "interval" not in out
    # Each of two jobs has its half of the cores.
    cores = int((folders[0] / "log.txt").read_text(encoding="utf-8").split()[1])
    assert cores == max(1, len(os.sched_getaffinity(0)) // 2)


def test_a_run_that_fails_is_told_and_the_others_go_on(command, capsys):
    flag = "--grid=optim.learning_rate=0.5,0.2"
    assert main(["sweep", "--config=digits", "--seeds=1", flag, *LOCAL]) == 1
    out = capsys.readouterr().out
    assert "failed with status 1: imgrec_jax: expected a finite loss, got NaN" in out
    assert "test_accuracy 0.2000, 3 s" in out


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_runs_of_a_sweep_that_ends_save_and_stop(tmp_path, command, end):
    """Whatever ends it: a run stops when its standard input ends."""
    program = (
        "import sys; from imgrec_jax.__main__ import main; "
        "sys.executable = sys.argv.pop(1); sys.exit(main())"
    )
    flags = ["sweep", "--config=digits", "--seeds=3", *LOCAL]
    os.mkfifo(tmp_path / "pipe")
    sweeping = subprocess.Popen(
        [PYTHON, "-c", program, str(command), *flags],
        env={**os.environ, "WAIT": str(tmp_path / "pipe")},
        stdout=subprocess.PIPE,
        text=True,
    )
    started = (tmp_path / "pipe").read_text(encoding="utf-8")  # waits for the first run
    assert int(started) == sweeping.pid
    sweeping.send_signal(end)
    assert (tmp_path / "pipe").read_text(encoding="utf-8") == "saved\n"  # waits for the run
    out, _ = sweeping.communicate()
    if end in STOP_SIGNALS:
        assert sweeping.returncode == 75
        assert "Stopped and saved. The same command resumes it." in out
    assert not Path("runs/digits_sweep/seed1").exists()


def test_slurm_gets_a_job_for_each_run(command, tmp_path, monkeypatch, capsys):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text('#!/bin/sh\necho "$@" >>submitted\necho "17;cluster"\n', encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    flags = ["sweep", "--config=digits", "--seeds=2", "--backend=slurm"]
    assert main(flags) == 1  # no launch script here
    assert "expected sbatch and launch/slurm.sbatch, got none" in capsys.readouterr().err
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "slurm.sbatch").touch()
    assert main([*flags, "--sbatch=--gpus-per-node=8"]) == 0
    assert "Submitted 2 jobs: 17, 17" in capsys.readouterr().out
    first = (tmp_path / "submitted").read_text(encoding="utf-8").splitlines()[0]
    assert first == (
        "--parsable --gpus-per-node=8 launch/slurm.sbatch --config=digits "
        "--workdir=runs/digits_sweep/seed0 --config.seed=0"
    )


@pytest.mark.parametrize("text", ["optim.learning_rate", "seed=1,2", "=1", "epochs=,"])
def test_a_grid_that_cannot_be_read_is_refused(text):
    with pytest.raises(UsageError, match="expected --grid=KEY=VALUE,VALUE"):
        grid.read_grid([text])


def test_nothing_starts_where_one_command_is_wrong(tmp_path):
    settings = grid.read_grid(["optim.schedule=constant,cosine(warmup=0.1,end=0)", "epochs=2,0"])
    assert settings["optim.schedule"] == ["constant", "cosine(warmup=0.1,end=0)"]
    with pytest.raises(UserError, match="epochs to be a whole number from 1 to 2147483647, got 0"):
        grid.plan("digits", tmp_path, settings, 1, [])


def test_gpus_are_dealt_out(monkeypatch):
    monkeypatch.setattr(grid, "gpu_numbers", lambda: ["0", "1", "2", "5"])
    dealt = [share.environment["CUDA_VISIBLE_DEVICES"] for share in grid._shares(2)]
    assert dealt == ["0,1", "2,5"]
    dealt = [share.environment["CUDA_VISIBLE_DEVICES"] for share in grid._shares(8)]
    assert dealt == ["0", "1", "2", "5"] * 2


@pytest.mark.parametrize("together_takes", [0.5, 2.0, math.inf])
def test_the_quicker_way_is_taken_and_kept(together_takes, command, tmp_path, monkeypatch, capsys):
    """Two runs of a step of one second in all, if one follows the other."""
    requests = []

    def measured(alone, many, networks, longest):
        requests.append(longest)
        return 1.0, together_takes

    def trained(configs, many, workdir, folders):
        raise Interrupted(1)

    monkeypatch.setattr(jax, "devices", lambda: ["one"])
    monkeypatch.setattr(experiment, "build_experiment", lambda config: "alone")
    monkeypatch.setattr(vmap_sweep, "build_together", lambda configs, alone: "many")
    monkeypatch.setattr(vmap_sweep, "faster_together", measured)
    monkeypatch.setattr(vmap_sweep, "train_together", trained)
    rate = "--config.optim.learning_rate=0.1"
    arguments = ["sweep", "--config=digits", "--seeds=2", "--jobs=1", rate]
    status = main(arguments)
    duration = {0.5: "500.0 ms", 2.0: "2000.0 ms", math.inf: "not tried"}[together_takes]
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"a step of all 2: one after the other 1000.0 ms, together {duration}"
    assert requests == [0.05]
    if together_takes < 1.0:
        assert status == 75
        assert rest[-1].startswith("Stopped and saved.")
        trials = grid.plan("digits", tmp_path, {}, 2, [rate])
        configs = [trial.request.config for trial in trials]
        folder = Workdir(tmp_path / "runs/digits_sweep/together")
        folder.create()
        folder.write_json("config.json", {"together": [c.to_dict() for c in configs]})
    else:
        assert status == 0
        assert rest[0].startswith("2 runs, 1 at once")
    assert main(arguments) == status
    assert requests == [0.05]  # it goes on as it has begun, without measuring again


@pytest.mark.slow
def test_a_sweep_of_real_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--config.epochs=1", "--config.log.report=False", "--config.model.convnet.width=4"]
    assert main(["sweep", "--config=digits", "--seeds=2", *small, "--backend=local"]) == 0
    results = [
        json.loads((tmp_path / f"runs/digits_sweep/seed{k}/result.json").read_text("utf-8"))
        for k in (0, 1)
    ]
    assert [r["seed"] for r in results] == [0, 1]
    assert results[0]["metrics"] != results[1]["metrics"]
    assert "runs/digits_sweep/seed*" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_that_differ_in_seed_are_one_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--config.epochs=1", "--config.log.report=False", "--config.model.convnet.width=4"]
    assert main(["sweep", "--config=digits", "--seeds=2", "--backend=vmap", *small]) == 0
    assert "runs/digits_sweep/seed*  2" in capsys.readouterr().out
    assert main(["sweep", "--config=digits", "--grid=batch_size=8,16", "--backend=vmap"]) == 2
    assert "got batch_size in the grid; try --backend=local" in capsys.readouterr().err
