"""The whole `cifar10_reference` command beside the plain PyTorch program, in one run.

    python -m benchmarks.cifar10_reference --data=folder:PATH [--epochs=20] [--pairs=1]

Ours is the command itself, cold: start-up, decoding the images, compiling, training and an
evaluation after every epoch. Torch starts from decoded arrays. The programs take turns, and
the ratios of neighbours are what counts: machines differ, and this one may be busy. Prints a
table and one JSON line.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax import get_config
from imgrec_jax.build.sources import open_source
from imgrec_jax.training.workdir.provenance import versions

HERE = Path(__file__).resolve().parent
PROGRAMS = ("imgrec_jax", "torch, DataLoader", "torch, preloaded")


def main() -> None:
    """Run the programs in turn and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="where CIFAR-10 is, as kind:where")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=1, help="how often each program runs")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    options = parser.parse_args()

    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    scores: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as scratch:
        arrays = write_arrays(options.data, Path(scratch))
        for turn in range(options.pairs):
            for name in PROGRAMS:
                command, environment = command_of(name, options, arrays, Path(scratch), turn)
                started = time.perf_counter()
                output = subprocess.run(
                    command, env=environment, check=True, capture_output=True, text=True
                ).stdout
                seconds[name].append(time.perf_counter() - started)
                scores[name].append(score(name, output, Path(scratch), turn))
    report(seconds, scores, options.epochs)


def write_arrays(source: str, folder: Path) -> Path:
    """Write the images as one file of arrays for torch; not timed."""
    splits = open_source(get_config("cifar10_reference", data__source=source))
    arrays: dict[str, Any] = {}
    for name in ("train", "test"):
        rows = splits[name].__getitems__(range(len(splits[name])))
        arrays[f"x_{name}"] = np.stack([row["image"] for row in rows])
        arrays[f"y_{name}"] = np.asarray(splits[name].labels)
    path = folder / "cifar10.npz"
    np.savez(path, **arrays)
    return path


def command_of(
    name: str, options: argparse.Namespace, arrays: Path, scratch: Path, turn: int
) -> tuple[list[str], dict[str, str]]:
    """Return the command line of a program and its environment."""
    if name == "imgrec_jax":
        command = [sys.executable, "-m", "imgrec_jax.main", "--config=cifar10_reference"]
        command += [f"--workdir={scratch / f'run{turn}'}", f"--config.epochs={options.epochs}"]
        cold = str(scratch / f"cache{turn}")
        return [*command, f"--config.data.source={options.data}"], {
            **os.environ,
            "IMGREC_JAX_CACHE": cold,
        }
    command = [options.torch_python, str(HERE / "torch_cifar10.py"), f"--npz={arrays}"]
    command += [f"--epochs={options.epochs}", *(["--preloaded"] if "preloaded" in name else [])]
    return command, dict(os.environ)


def score(name: str, output: str, scratch: Path, turn: int) -> float:
    """Return the test accuracy after the last epoch."""
    if name == "imgrec_jax":
        result = json.loads((scratch / f"run{turn}" / "result.json").read_text(encoding="utf-8"))
        return result["metrics"]["test_accuracy"]
    return json.loads(output.strip().splitlines()[-1])["test_accuracy"]


def report(seconds: dict[str, list[float]], scores: dict[str, list[float]], epochs: int) -> None:
    """Print the table and the JSON line."""
    ours = seconds[PROGRAMS[0]]
    ratios = {
        name: [a / b for a, b in zip(ours, theirs, strict=True)] for name, theirs in seconds.items()
    }
    print(f"{'program':<20} {'seconds':>9} {'ours / it':>10} {'accuracy':>9}   n={len(ours)}")
    for name in PROGRAMS:
        print(
            f"{name:<20} {statistics.median(seconds[name]):>9.1f} "
            f"{statistics.median(ratios[name]):>10.2f} {statistics.mean(scores[name]):>9.4f}"
        )
    environment = {"machine": platform.platform(), "cores": os.cpu_count(), **versions()}
    print(json.dumps({"epochs": epochs, "seconds": seconds, "ratios": ratios, **environment}))


if __name__ == "__main__":
    main()
