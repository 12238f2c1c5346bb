"""How long a device waits for images from JPEG files.

    python -m benchmarks.waiting [--images=PATH] [--model=resnet50] [--batch=256]

PATH is a folder or tar of JPEG files of ImageNet's size; without one they are made up. A run's own
pipeline (workers on all cores, batches ahead) decodes, crops and sends them to training steps;
beside it, block by block in turn, the same steps on one batch that is sent again and again. The
share of time that the device waits is what the second saves. Prints it and one JSON line.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import jax
import numpy as np

from benchmarks.input_pipeline import class_folders
from benchmarks.steps import SIZES
from benchmarks.turns import environment, spread
from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host import host
from imgrec_jax.training.step.parallel import HostBatch

_WARM = 4  # steps until the program is compiled and all workers have begun


def main() -> None:
    """Let both take turns and print the share of waiting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="", help="a folder or tar of JPEG files")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    host.keep_compiled_programs()
    host.make_cpu_devices("auto", options.batch)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["IMGREC_JAX_CACHE"] = f"{scratch}/cache"
        folder = images(options.images, Path(scratch), 8 * options.batch)
        made = experiment(folder, options)
        fed, alone = rates(made, options.steps, options.rounds)
    waited = [max(0.0, 1 - b / a) for a, b in zip(fed, alone, strict=True)]
    print(
        f"{options.model}, batch {options.batch}, {os.cpu_count()} cores: the device waits for "
        f"{spread(waited)} of the time, {options.batch / min(fed):,.0f} images/s, n={len(waited)}"
    )
    line = {"benchmark": "waiting", "model": options.model, "batch": options.batch}
    line |= {"made_up": not options.images, "fed": fed, "alone": alone, "waited": waited}
    print(json.dumps({**line, **environment()}))


def images(where: str, scratch: Path, least: int) -> Path:
    """Return a folder with JPEG files in two classes: at least so many, links to the first ones."""
    if not where:
        (scratch / "made").mkdir()
        generator = np.random.default_rng(0)
        for number in range(32):
            coarse = generator.integers(0, 256, (24, 32, 3), np.uint8)
            fine = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
            noise = generator.integers(0, 24, fine.shape, np.uint8)
            cv2.imwrite(f"{scratch}/made/{number}.jpg", cv2.add(fine, noise))
        where = f"{scratch}/made"
    folder = class_folders(Path(where), scratch / "images")
    files = sorted(folder.rglob("*.*"))
    for number, file in zip(range(len(files), least), itertools.cycle(files)):
        os.link(file, file.with_name(f"{number}_again_{file.name}"))
    return folder


def experiment(folder: Path, options: argparse.Namespace) -> Experiment:
    """Return the run: images read and cut anew each time, on a GPU in bfloat16."""
    size = SIZES.get(options.model, 32)
    config = get_config(
        "cifar10_reference",
        epochs=1_000_000,
        batch_size=options.batch,
        data__source=f"folder:{folder}",
        data__image_size=size,
        data__crop="random_resized_crop(low=0.08)",
        data__memory_gb=0.0,
        augment="flip",
        model__name=options.model,
        precision="float32" if jax.default_backend() == "cpu" else "bfloat16",
    )
    return build_experiment(config)


def rates(made: Experiment, steps: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a step with new images, and of one with the same, in each round."""
    program, root = made.train_program(), made.parallel.replicate(made.root_key)
    state, numbers = made.init(), itertools.count()
    same = made.train(next(numbers))

    def block(batch: Callable[[], HostBatch], count: int) -> float:
        nonlocal state
        started, waiting = time.perf_counter(), None
        for _ in range(count):
            state, sums = program(state, batch(), root)
            jax.block_until_ready(waiting)  # as the loop does: one call late
            waiting = sums
        jax.block_until_ready((state.params, waiting))
        return (time.perf_counter() - started) / count

    def new() -> HostBatch:
        return made.train(next(numbers))

    block(new, _WARM)
    fed, alone = [], []
    for _ in range(rounds):
        alone.append(block(lambda: same, steps))
        block(new, _WARM)  # what was made ahead meanwhile is used up
        fed.append(block(new, steps))
    return fed, alone


if __name__ == "__main__":
    main()
