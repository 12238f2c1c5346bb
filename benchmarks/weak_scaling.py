"""The host's share of a training step, with 1, 2, 4 and 8 devices made of this CPU.

    python -m benchmarks.weak_scaling [--examples=64] [--steps=60] [--rounds=3]

Weak scaling: every device has the same number of examples, so on one CPU a step takes longer in
proportion, and what is asked is not its speed. The loop's own time for a step (feeding, logging
and checkpoints included) is set beside the time of the compiled program alone, fed with one
batch over and over, half of it before and half of it after the loop. Prints a table and one JSON
line.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEVICES = (1, 2, 4, 8)


def main() -> None:
    """Run a process for each number of devices and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=64, help="of a batch, on each device")
    parser.add_argument("--steps", type=int, default=60, help="of an epoch, which ends in a save")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--devices", type=int, default=0, help="measure these, in this process")
    options = parser.parse_args()
    if options.devices:
        print(json.dumps(measure(options.devices, options)))
        return
    results = {}
    print(f"{'devices':>7} {'loop ms':>9} {'program ms':>11} {'outside':>8}   n={options.rounds}")
    for devices in DEVICES:
        command = [sys.executable, "-m", "benchmarks.weak_scaling", f"--devices={devices}"]
        command += [
            f"--{name}={getattr(options, name)}" for name in ("examples", "steps", "rounds")
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = results[devices] = json.loads(output.splitlines()[-1])
        loop, program = (statistics.median(found[k]) for k in ("loop", "program"))
        shares = [1 - b / a for a, b in zip(found["loop"], found["program"], strict=True)]
        spread = f"{min(shares):.1%} .. {max(shares):.1%}"
        print(f"{devices:>7} {1e3 * loop:>9.1f} {1e3 * program:>11.1f} {spread}", flush=True)
    print(json.dumps({"machine": platform.platform(), "cores": os.cpu_count(), "s": results}))


def measure(devices: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return seconds of a step of the loop, and of the program alone, in each round."""
    import jax

    from imgrec_jax import get_config
    from imgrec_jax.build.experiment import build_experiment
    from imgrec_jax.training.host import host
    from imgrec_jax.training.loop import fit
    from imgrec_jax.training.workdir.files import Workdir

    batch_size = options.examples * devices
    source = f"synthetic:{batch_size * options.steps},32x32x3,10"
    config = get_config("cifar10_reference", batch_size=batch_size, data__source=source)
    host.make_cpu_devices(str(devices), batch_size)
    # No evaluation: it is a compiled program of its own.
    experiment = dataclasses.replace(build_experiment(config), evaluations={}, epochs=2)
    program = experiment.train_program()
    root = experiment.parallel.replicate(experiment.root_key)
    state, batch = experiment.init(), experiment.train(0)
    state, sums = program(state, batch, root)  # compiles
    seconds: dict[str, list[float]] = {"loop": [], "program": []}

    def alone(steps: int) -> float:
        nonlocal state
        waiting, started = sums, time.perf_counter()
        for _ in range(steps):
            state, found = program(state, batch, root)
            jax.block_until_ready(waiting)  # as the loop does: one call late
            waiting = found
        jax.block_until_ready(waiting)
        return time.perf_counter() - started

    for _ in range(options.rounds):
        half = experiment.total_steps // 2
        before = alone(half)
        with tempfile.TemporaryDirectory() as folder:
            _, progress = fit(experiment, Workdir(Path(folder)), experiment.init(), lambda _: None)
        spent = progress.seconds["train"] + progress.seconds["save"]
        seconds["loop"].append(spent / (experiment.total_steps - 1))  # the first one compiles
        seconds["program"].append((before + alone(half)) / (2 * half))
    return seconds


if __name__ == "__main__":
    main()
