"""How long a command takes to its first training step, and to name one image.

    python -m benchmarks.startup [--config=cifar10] [--source=cifar10] [--rounds=5]

Without --source the images are made up, so that nothing is read or decoded.
"cold" has an empty cache of compiled programs, "warm" the one that the cold start has left. A
start ends when the first line of metrics.jsonl is there: the first step is done then, and the
second on its way. Prints a table and one JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.turns import environment

_FLAGS = ("--config.log.every_steps=1", "--config.log.report=False")


def main() -> None:
    """Start the commands again and again, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="cifar10")
    parser.add_argument("--source", default="synthetic:50000,32x32x3,10")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"first step, cold": [], "first step, warm": []}
    seconds["predict, warm"] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        flags = [f"--config={options.config}", f"--config.data.source={options.source}"]
        run = scratch / "trained"
        train(flags, run, scratch / "cache")
        write_image(scratch / "image.png")
        predict(run, scratch)  # compiles
        for number in range(options.rounds):
            cache = scratch / f"cache{number}"
            for name in ("cold", "warm"):
                workdir = scratch / f"{name}{number}"
                seconds[f"first step, {name}"].append(to_first_step(flags, workdir, cache))
            seconds["predict, warm"].append(predict(run, scratch))
    print(f"{'start':<18} {'median s':>9} {'from':>6} {'to':>6}   n={options.rounds}")
    for name, found in seconds.items():
        print(f"{name:<18} {statistics.median(found):>9.2f} {min(found):>6.2f} {max(found):>6.2f}")
    print(json.dumps({"benchmark": "startup", "seconds": seconds, **environment()}))


def train(flags: list[str], workdir: Path, cache: Path) -> None:
    """Train one small run to its end."""
    small = ["--config.epochs=1", "--config.data.source=synthetic:256,32x32x3,10"]
    subprocess.run(
        command(flags, workdir) + small, env=variables(cache), check=True, stdout=subprocess.DEVNULL
    )


def to_first_step(flags: list[str], workdir: Path, cache: Path) -> float:
    """Return the seconds from the command to its first line of metrics."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command(flags, workdir), env=variables(cache), stdout=subprocess.DEVNULL
    )
    metrics = workdir / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None:
            raise SystemExit(f"the command ended with status {process.returncode}")
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    process.kill()
    process.wait()
    return seconds


def predict(run: Path, scratch: Path) -> float:
    """Return the seconds that naming one image takes."""
    started = time.perf_counter()
    line = [sys.executable, "-m", "imgrec_jax", "predict", str(run), str(scratch / "image.png")]
    subprocess.run(line, env=variables(scratch / "cache"), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def command(flags: list[str], workdir: Path) -> list[str]:
    """Return the training command."""
    return [sys.executable, "-m", "imgrec_jax.main", *flags, *_FLAGS, f"--workdir={workdir}"]


def variables(cache: Path) -> dict[str, str]:
    """Return the environment with a cache of its own."""
    return {**os.environ, "IMGREC_JAX_CACHE": str(cache)}


def write_image(path: Path) -> None:
    """Write a grey image."""
    from PIL import Image

    Image.new("RGB", (32, 32), (127, 127, 127)).save(path)


if __name__ == "__main__":
    main()
