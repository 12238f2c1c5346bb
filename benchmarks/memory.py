"""The memory that a plan promises beside what a device has really used at most.

    python -m benchmarks.memory [--models=resnet50,vit_s16] [--batch=256]

The plan is that of `train --plan`: state and batch, and what XLA's plan for a CPU needs beside
them. The peak is the device's own count after some training steps, in a process of its own; a
CPU counts none. Prints a table and one JSON line.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping

import jax

from benchmarks.steps import Steps, made_up
from benchmarks.turns import environment
from imgrec_jax.training.host import host
from imgrec_jax.training.planning.plan import make_plan
from imgrec_jax.training.planning.utilisation import utilisation

_STEPS = 8


def main() -> None:
    """Print plan and peak of each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet50,vit_s16")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--plan", action="store_true", help="tell the planned bytes of one, on CPU")
    parser.add_argument("--peak", action="store_true", help="tell the bytes that one has used")
    options = parser.parse_args()
    if options.plan or options.peak:
        print((planned if options.plan else used)(options.models, options.batch))
        return
    found = {}
    for model in options.models.split(","):
        plan = _reported_bytes("--plan", model, options.batch, {"JAX_PLATFORMS": "cpu"})
        peak = _reported_bytes("--peak", model, options.batch, {})
        found[model] = {"planned": plan, "peak": peak}
        text = f"{plan / peak:.2f} of the peak of {peak / 1e9:.2f} GB" if peak else "no peak told"
        print(f"{model}, batch {options.batch}: planned {plan / 1e9:.2f} GB, {text}", flush=True)
    line = {"benchmark": "memory", "batch": options.batch, "bytes": found}
    print(json.dumps({**line, **environment()}))


def planned(model: str, batch: int) -> int:
    """Return the bytes that a plan for one device in bfloat16 comes to."""
    made = made_up(model, batch, precision="bfloat16", ops="plain", parallel__devices="1")
    plan = make_plan(made, "h100", "bfloat16", utilisation(model)[1])
    return plan.state_bytes + plan.batch_bytes + plan.temporary_bytes


def used(model: str, batch: int) -> int:
    """Return the most bytes that the first device has had in use in some steps; 0: not told."""
    host.keep_compiled_programs()
    Steps(made_up(model, batch, parallel__devices="1")).take(_STEPS)
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def _reported_bytes(what: str, model: str, batch: int, variables: Mapping[str, str]) -> int:
    """Return the number that this program tells of one network, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", what]
    command += [f"--models={model}", f"--batch={batch}"]
    settings = {**os.environ, **variables}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=settings)
    return int(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
