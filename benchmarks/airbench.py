"""Whole trainings on CIFAR-10 beside the PyTorch program that their recipe comes from.

    python -m benchmarks.airbench --data=SOURCE [--recipe=cifar10_airbench94] [--original=PATH]

SOURCE is a `data.source` with CIFAR-10; PATH an original of KellerJordan/cifar10-airbench on
GitHub (legacy/airbench94.py, its compiled form, or legacy/airbench96.py), which reads the same
images and is run by `--torch-python` on its GPU. Runs of the two take turns, each from another
seed. As there, what counts is the time of whitening, training and the scoring of all views at the
end, and a first run, in which programs are compiled, is left out. On a GPU ours computes in
bfloat16.

Prints mean accuracies with their 95 % interval, the ratio of times and one JSON line.
"""

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.turns import Found, answer, environment, has, ratios, spread, take_turns
from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.sources import open_source
from imgrec_jax.core import rng, state
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import gather
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host import host
from imgrec_jax.training.step.compiled_steps import EvalProgram

TORCH = Path(__file__).resolve().parent / "torch_airbench.py"


def main() -> None:
    """Let runs of both take turns and print what they reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="a data.source with CIFAR-10")
    parser.add_argument("--recipe", default="cifar10_airbench94", help="a config")
    parser.add_argument("--epochs", type=int, default=0, help="of ours; 0: the recipe's")
    parser.add_argument("--original", default="", help="the PyTorch program; '': ours alone")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no round after them")
    parser.add_argument("--block", action="store_true", help="be our side")
    options = parser.parse_args()
    if options.block:
        serve(options)
        return
    ours = [f"--{k}={getattr(options, k)}" for k in ("data", "recipe", "epochs")]
    ours += [f"--first-seed={options.first_seed}", "--block"]
    programs = {"imgrec_jax": [sys.executable, "-m", "benchmarks.airbench", *ours]}
    with tempfile.TemporaryDirectory() as folder:
        if why := missing(options):
            print(f"no peer: {why}")
        else:
            images = write_images(options, Path(folder))
            theirs = [f"--original={Path(options.original).resolve()}", f"--images={images}"]
            programs["torch"] = [options.torch_python, str(TORCH), *theirs]
        found = take_turns(programs, options.rounds, options.seconds)
    line: dict[str, Any] = {"benchmark": "airbench", "recipe": options.recipe, "found": found}
    line |= {"data": options.data, "first_seed": options.first_seed, "accuracy": {}}
    for name, runs in found.items():
        mean, within = interval([100 * run["accuracy"] for run in runs])
        seconds = spread([run["seconds"] for run in runs])
        print(f"{name:<12} {mean:.2f} % ± {within:.2f}, {seconds} s, n={len(runs)}")
        line["accuracy"][name] = mean
    if "torch" in found:
        line["ratios"] = ratios(found, "seconds", "imgrec_jax", "torch")
        print(f"time, ours / theirs: {spread(line['ratios'])}")
    print(json.dumps({**line, **environment()}))


def missing(options: argparse.Namespace) -> str:
    """Return why the original cannot run, or ""."""
    if not options.original:
        return "try --original=PATH of legacy/airbench94.py"
    if not Path(options.original).is_file():
        return f"{options.original} is no file"
    lacks = [m for m in ("torch", "torchvision") if not has(options.torch_python, m)]
    return f"{options.torch_python} has no {lacks[0]}" if lacks else ""


def write_images(options: argparse.Namespace, folder: Path) -> Path:
    """Return a file with the images and labels of both splits, for the original to take."""
    splits = open_source(get_config(options.recipe, data__source=options.data))
    arrays = {}
    for name in ("train", "test"):
        examples = gather(splits[name], np.arange(len(splits[name])))
        arrays |= {f"{name}_images": examples["image"], f"{name}_labels": examples["label"]}
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and twice its standard error (NaN of a single value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.fmean(values), 2 * deviation / math.sqrt(len(values))


def serve(options: argparse.Namespace) -> None:
    """Answer with accuracy and seconds of a whole run, each from the next seed."""
    host.keep_compiled_programs()
    changes: dict[str, Any] = {"data__source": options.data}
    if options.epochs:
        changes |= {"epochs": options.epochs, "eval_every": options.epochs}
    host.make_cpu_devices("auto", 1024)
    if jax.default_backend() != "cpu":
        changes["precision"] = "bfloat16"
    run = whole_run(build_experiment(get_config(options.recipe, **changes)))
    seeds = itertools.count(options.first_seed)
    answer(lambda: run(next(seeds)))


def whole_run(made: Experiment) -> Callable[[int], Found]:
    """Return the function of a seed that trains and scores; its programs compile when first used.

    Nothing is read from the device between its first step and the scores.
    """
    program, scoring = made.train_program(), EvalProgram(made.task, made.parallel)
    test, compute_metrics = made.data.passes["test"], made.task.compute_metrics
    blank = {name: jnp.asarray(array[:1]) for name, array in next(iter(test())).items()}
    per_epoch = made.train.steps_per_epoch

    @jax.jit
    def begin(key: jax.Array) -> state.TrainState:
        params, model_state = made.task.init(rng.init_key(key), blank)
        return state.create(params, model_state, made.step.optimizer.init(params), ema=False)

    def run(seed: int) -> Found:
        key = jax.random.key(seed)
        new = jax.block_until_ready(begin(key))
        root = made.parallel.replicate(key)
        assert isinstance(made.train, TrainBatches)  # as of data in memory
        feed = dataclasses.replace(made.train, seed=seed)
        started = time.perf_counter()
        with jax.default_matmul_precision(made.step.matmul_precision):
            now = made.parallel.place(made.warm_start(new, lambda line: None))
            step = 0
            while step < made.total_steps:
                steps = min(made.step.steps_per_call, per_epoch - step % per_epoch)
                now, _ = program(now, feed(step, steps), root)
                step += steps
            params, model_state = now.weights()
            found = evaluate(scoring, compute_metrics, params, model_state, test())
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "accuracy": found.metrics["accuracy"]}

    return run


if __name__ == "__main__":
    main()
