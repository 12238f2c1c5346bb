"""A real SLURM on loopback; tests/cluster/slurm.sh does the work and says more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "slurm.sh"


@pytest.mark.skipif(
    os.environ.get("IMGREC_JAX_TEST_SLURM") != "1",
    reason="starts a cluster of its own for a minute: IMGREC_JAX_TEST_SLURM=1 asks for it, and "
    "installs SLURM where it is not there (Debian, as root)",
)
def test_two_tasks_of_a_real_slurm_finish_and_a_stopped_job_is_requeued(tmp_path):
    done = subprocess.run(
        [SCRIPT, tmp_path / "cluster"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("slurm.sh: passed\n")
