"""Kills a run with SIGKILL again and again: it ends as the run that was never interrupted.

    python tests/training/killed_run.py [--kills=50] [--seed=0] [--folder=FOLDER]

Moments are drawn evenly from a little before the first step of a start to a little after: as
there is a save every third step, many fall into one. Exits with 1 where a restart fails, or the
last state, the log or the scores differ.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RATES = {"images_per_second"}
COMMAND = [
    *(sys.executable, "-m", "imgrec_jax.main", "--config=digits"),
    *("--config.augment=pad_crop(pad=1)|noise(0.02)", "--config.mix=mixup(0.2)"),
    *("--config.optim.ema_decay=0.99", "--config.optim.schedule=cosine(warmup=0.1)"),
    *("--config.checkpoint.every_steps=3", "--config.log.every_steps=2"),
    *("--config.micro_batches=2", "--config.parallel.cpu_devices=2"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    command = [*COMMAND, f"--config.epochs={max(6, min(options.kills, 20))}"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        time_of(command, folder / "whole")
        start, rest = time_of(command, folder / "timed")  # nothing is left to compile
        moments = (0.8 * start, start + rest / max(options.kills, 1))
        draw = random.Random(options.seed)
        kills, runs, differences = 0, 0, list[str]()
        # A run that ends before all kills are used up is compared, and another one begun.
        while kills < options.kills and not differences:
            killed = folder / f"killed{runs}"
            done = kill(command, killed, options.kills - kills, lambda: draw.uniform(*moments))
            kills, runs = kills + done, runs + 1
            differences = compare(folder / "whole", killed)
    outcome = "; ".join(differences) or "the same as never interrupted"
    print(f"killed {kills} times in {runs} runs; {outcome}")
    return 1 if differences else 0


def time_of(command: Sequence[str], workdir: Path) -> tuple[float, float]:
    """Run to the end; return the seconds up to the first epoch's end, and those after it."""
    started = time.monotonic()
    first = None
    with subprocess.Popen(
        [*command, f"--workdir={workdir}"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if first is None and line.startswith("epoch"):
                first = time.monotonic()
    if child.returncode or first is None:
        raise SystemExit(f"the run failed with status {child.returncode}")
    return first - started, time.monotonic() - first


def kill(command: Sequence[str], workdir: Path, kills: int, moment: Callable[[], float]) -> int:
    """Start the run until it has been killed so often, then let it finish; return how often."""
    done = 0
    while True:
        with subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child:
            try:
                output, _ = child.communicate(timeout=moment() if done < kills else None)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                done += 1
                continue
        if child.returncode:
            raise SystemExit(f"a restart failed with status {child.returncode}:\n{output}")
        return done


def compare(whole: Path, killed: Path) -> list[str]:
    """Return what differs between two finished runs, times and rates apart."""
    import jax
    import numpy as np

    from imgrec_jax.core.tree_paths import path_name
    from imgrec_jax.training.checkpoints.orbax import Checkpoints

    found = []
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k not in RATES}
            for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for folder in (whole, killed)
    ]
    if logs[0] != logs[1]:
        found.append(f"the log differs ({len(logs[0])} and {len(logs[1])} events)")
    scores = [
        json.loads((folder / "result.json").read_text(encoding="utf-8"))["metrics"]
        for folder in (whole, killed)
    ]
    if scores[0] != scores[1]:
        found.append("the scores differ")
    states = []
    for folder in (whole, killed):
        with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
            tree = checkpoints.restore_tree(checkpoints.steps[-1])
        states.append({path_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)})
    if states[0].keys() != states[1].keys():
        found.append("the leaves differ")
    found += [
        f"{path} differs"
        for path in states[0]
        if not np.array_equal(states[0][path], states[1].get(path))
    ]
    return found


if __name__ == "__main__":
    sys.exit(main())
