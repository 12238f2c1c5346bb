"""What launch/slurm.sbatch makes of SLURM's variables; tests/cluster has a real SLURM."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "slurm.sbatch"

STAND_INS = {
    "srun": '$BEFORE; echo "srun $*"; env | grep -E "^(JAX_LOCAL|no_grpc)"; exit $STATUS',
    "squeue": "echo $STATE",
    "scontrol": 'if [ $1 = show ]; then printf "a1\\na2\\n"; else echo "scontrol $*"; fi',
}


@pytest.fixture
def sbatch(tmp_path):
    """Return a function that runs the script as SLURM would, and gives status and lines."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    def run(tasks_per_node, status=0, state="RUNNING", **environment):
        done = subprocess.run(
            ["bash", SCRIPT, "--config=digits"],
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "SLURM_SUBMIT_DIR": str(tmp_path),
                "SLURM_JOB_ID": "7",
                "SLURM_JOB_NODELIST": "a[1-2]",
                "SLURM_TASKS_PER_NODE": tasks_per_node,
                "STATUS": str(status),
                "STATE": state,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout.splitlines()

    return run


def line(multihost, python=".venv/bin/python"):
    return (
        f"srun --wait=120 {python} -m imgrec_jax.main --config=digits "
        f"--config.parallel.multihost={multihost}"
    )


def test_one_task_runs_alone(sbatch):
    assert sbatch("1") == (0, [line("off")])


def test_one_task_on_each_node_takes_all_of_its_gpus(sbatch):
    expected = [line("auto"), "JAX_LOCAL_DEVICE_IDS=0,1,2,3"]
    assert sbatch("1(x4)", SLURM_GPUS_ON_NODE="4") == (0, expected)
    assert sbatch("1", SLURM_GPUS_ON_NODE="2")[1] == [line("off"), "JAX_LOCAL_DEVICE_IDS=0,1"]


@pytest.mark.parametrize("tasks", ["2", "8(x4)", "1,2(x3)", "10"])
def test_of_several_tasks_on_a_node_each_takes_the_gpu_that_jax_gives_it(sbatch, tasks):
    assert sbatch(tasks, SLURM_GPUS_ON_NODE="8") == (0, [line("auto")])


def test_the_nodes_do_not_talk_through_a_proxy(sbatch):
    _, printed = sbatch("1(x2)", http_proxy="http://proxy:3128")
    assert printed == [line("auto"), "no_grpc_proxy=a1,a2"]


def test_another_python_can_be_named(sbatch):
    assert sbatch("1", PYTHON="/opt/python")[1] == [line("off", "/opt/python")]


def test_the_script_outlives_the_signal_of_preemption(sbatch):
    code, printed = sbatch("1", 75, BEFORE="eval kill -TERM $PPID")
    assert (code, printed[-1]) == (75, "scontrol requeue 7")


@pytest.mark.parametrize(
    ("status", "state", "requeued"),
    [
        (75, "RUNNING", True),
        (75, "CANCELLED", False),  # scancel
        (75, "COMPLETING", False),
        (0, "RUNNING", False),
        (1, "RUNNING", False),
        (2, "RUNNING", False),
    ],
)
def test_what_stopped_by_itself_is_requeued(sbatch, status, state, requeued):
    code, printed = sbatch("1", status, state)
    assert code == status
    assert ("scontrol requeue 7" in printed) == requeued
