"""Two processes of a real run, of which one is killed: launch/local.sh starts both again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "local.sh"

# The training command; but process 1, the first time it comes to save step 30, is killed.
TRAIN = """
import os, signal, sys
from pathlib import Path

import pytest

from imgrec_jax.main import main
from imgrec_jax.training.checkpoints.orbax import Checkpoints

save, mark = Checkpoints.save, Path("killed")

def save_or_die(self, state, meta, metrics):
    if int(state.step) == 30 and sys.argv[-1].endswith(",1/2") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return save(self, state, meta, metrics)

Checkpoints.save = save_or_die
sys.exit(main())
"""


@pytest.mark.slow
def test_after_a_killed_peer_the_run_goes_on_from_its_last_checkpoint(tmp_path):
    flags = [
        "--config=digits",
        "--workdir=run",
        "--config.epochs=2",
        "--config.checkpoint.every_steps=10",
        "--config.model.convnet.width=4",
        "--config.model.convnet.hidden=8",
    ]
    done = subprocess.run(
        [SCRIPT, "2", "--restarts=3", "--", sys.executable, "-c", TRAIN, *flags],
        cwd=tmp_path,
        # A proxy for the world outside is not asked about the other process.
        env={**os.environ, "JAX_PLATFORMS": "cpu", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    # Step 20 was still being written, or was not.
    assert re.findall(r"resumed +at step (\d+)", done.stdout) in (["10"], ["20"])
    assert re.search(r"process 1 ended with status 137$", done.stderr, flags=re.MULTILINE)
    assert "starting again, 1 of 3" in done.stderr
    assert "starting again, 2 of 3" not in done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["processes"], result["step"]) == ("finished", 2, 46)
