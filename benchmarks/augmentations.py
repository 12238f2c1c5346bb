"""Images per second of each augmentation on this device, beside the same written with torch.

    python -m benchmarks.augmentations [--size=32] [--batch=256] [--torch-python=PATH]

Each stage is timed alone, jitted, by its quickest call; our stages and torch's take turns. Then
what augmentation and gathering cost beside a training step of the ConvNet of
`configs/cifar10.py`, on 32x32 images. Prints a table and one JSON line.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.preprocessing import AUGMENTATIONS, MIXINGS
from imgrec_jax.training.workdir.provenance import versions

HERE = Path(__file__).resolve().parent
PIPELINE = "pad_crop(pad=4)|flip"


def main() -> None:
    """Time the stages and the step, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each stage in a turn")
    parser.add_argument("--torch-python", default="", help="a Python that has torch")
    options = parser.parse_args()

    stages = compile_stages(options.batch, options.size)
    ours: dict[str, float] = dict.fromkeys(stages, 0.0)
    theirs: dict[str, float] = dict.fromkeys(stages, 0.0)
    for _ in range(options.turns):
        for name, call in stages.items():
            ours[name] = max(ours[name], options.batch / quickest(call, options.seconds))
        for name, rate in torch_rates(options).items():
            theirs[name] = max(theirs[name], rate)
    report(ours, theirs, step_cost(options.turns), options)


def compile_stages(batch: int, size: int) -> dict[str, Callable[[], Any]]:
    """Return a call of each stage on a batch that lies on the device."""
    generator = np.random.default_rng(0)
    image = jax.device_put(generator.random((batch, size, size, 3), np.float32))
    index = jax.device_put(np.arange(batch, dtype=np.int32))
    keys = jax.random.split(jax.random.key(0), batch)
    sample = {"image": image, "index": index, "epoch": index}
    calls: dict[str, Callable[[], Any]] = {}
    for name, factory in AUGMENTATIONS.items():
        stage = jax.jit(factory())
        calls[name] = lambda stage=stage: stage(keys, sample)["image"]
    for name, factory in MIXINGS.items():
        mixing = jax.jit(jax.vmap(factory()))
        calls[name] = lambda mixing=mixing: mixing(keys, image, image[::-1])[0]
    return calls


def torch_rates(options: argparse.Namespace) -> dict[str, float]:
    """Return images per second of torch by stage; none without a Python for it."""
    if not options.torch_python:
        return {}
    command = [options.torch_python, str(HERE / "torch_augmentations.py")]
    command += [f"--batch={options.batch}", f"--size={options.size}"]
    command += [f"--seconds={options.seconds}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def step_cost(turns: int) -> dict[str, float]:
    """Return the milliseconds of a training step without augmentation, and what comes to it.

    Steps with and without take turns, and the median of their differences counts: on a busy
    machine the speed changes from one second to the next.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "images.npz"
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (4096, 32, 32, 3), np.uint8)
        labels = np.arange(4096) % 10
        np.savez(path, x_train=images, y_train=labels, x_test=images[:64], y_test=labels[:64])
        plain, gather = step(f"npz:{path}", "")
        augmented, _ = step(f"npz:{path}", PIPELINE)
    calls = {"step": plain, "augmented": augmented, "gather": gather}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(100 * turns):
        for name, call in calls.items():
            started = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - started)
    taken = {name: 1e3 * np.array(values[5:]) for name, values in seconds.items()}
    return {
        "step": float(np.median(taken["step"])),
        "augmentation": float(np.median(taken["augmented"] - taken["step"])),
        "gather": float(np.median(taken["gather"])),
    }


def step(source: str, augment: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return a call that trains one step on a batch at hand, and one that gathers a batch."""
    config = get_config("cifar10", data__source=source, augment=augment, parallel__mode="single")
    experiment = build_experiment(config)
    program = experiment.train_program()
    holder = [experiment.parallel.place(experiment.init())]
    root = experiment.parallel.replicate(experiment.root_key)
    batch = experiment.train(0)

    def train() -> Any:
        holder[0], sums = program(holder[0], batch, root)
        return holder[0].step, sums

    numbers = iter(range(10**9))
    return train, lambda: experiment.train(next(numbers))


def quickest(call: Callable[[], Any], seconds: float) -> float:
    """Return the seconds of the quickest of many calls; the first, which compiles, left out."""
    jax.block_until_ready(call())
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        jax.block_until_ready(call())
        best = min(best, time.perf_counter() - started)
    return best


def report(
    ours: dict[str, float],
    theirs: dict[str, float],
    cost: dict[str, float],
    options: argparse.Namespace,
) -> None:
    """Print the table and the JSON line."""
    device = jax.devices()[0]
    print(f"images/s, {options.size}x{options.size}, batches of {options.batch}, {device}")
    print(f"{'stage':<20} {'imgrec_jax':>12} {'torch':>12} {'ratio':>7}")
    for name, rate in sorted(ours.items()):
        peer = f"{theirs[name]:>12,.0f} {rate / theirs[name]:>7.2f}" if theirs[name] else ""
        print(f"{name:<20} {rate:>12,.0f} {peer}")
    share = (cost["augmentation"] + cost["gather"]) / cost["step"]
    print(
        f"ConvNet step of 64: {cost['step']:.2f} ms; {PIPELINE} {cost['augmentation']:.2f} ms, "
        f"gather {cost['gather']:.2f} ms: {100 * share:.1f} % of the step"
    )
    about = {"machine": platform.platform(), "cores": os.cpu_count(), "device": str(device)}
    result = {"imgrec_jax": ours, "torch": theirs, "step_ms": cost, **about, **versions()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
