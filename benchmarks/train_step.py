"""The training step of a network beside torch's, on the same device, block by block in turn.

    python -m benchmarks.train_step --torch-python=PATH [--model=convnet] [--batch=64]

Ours is the program of a run, with its augmentation left out: it sends a uint8 batch, normalises
it and takes a step of Adam in float32. Torch's is as quick as plain torch is: channels_last, its
pictures made into tensors beforehand; on a GPU with bfloat16 autocast and torch.compile, where
ours computes in bfloat16 too. Prints the ratio, its spread and one JSON line.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.turns import Found, answer, environment, ratios, spread, take_turns
from imgrec_jax.core.huge_pages import restart_with_huge_pages

SIZES = {"convnet": 32, "resnet18": 32, "vit_ti4": 32}  # of pictures; 224 for the others
TORCH = Path(__file__).resolve().parent / "torch_step.py"


def main() -> None:
    """Let the two take turns and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="convnet", help="convnet, resnet18/50, vit_ti4/s16/b16")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--ops", default="auto", help="plain: without the quick forms for CPUs")
    parser.add_argument("--block", action="store_true", help="be our side")
    options = parser.parse_args()
    if options.block:
        restart_with_huge_pages("benchmarks")  # as the command for training does
        serve(options)
        return
    names = ("model", "batch", "steps")
    flags = [f"--{name}={getattr(options, name)}" for name in names]
    ours = [sys.executable, "-m", "benchmarks.train_step", "--block", f"--ops={options.ops}"]
    size = f"--size={SIZES.get(options.model, 224)}"
    commands = {
        "imgrec_jax": [*ours, *flags],
        "torch": [options.torch_python, str(TORCH), size, *flags],
    }
    found = take_turns(commands, options.rounds)
    shares = ratios(found, "seconds", "imgrec_jax", "torch")
    print(f"{options.model}, batch {options.batch}: ours / torch {spread(shares)}, n={len(shares)}")
    for name, blocks in found.items():
        step = statistics.median(block["seconds"] for block in blocks) / options.steps
        print(f"{name:<12} {1e3 * step:8.2f} ms a step {options.batch / step:10,.0f} images/s")
    settings = {name: getattr(options, name) for name in (*names, "ops")}
    line = {"benchmark": "train_step", **settings, "ratios": shares, "found": found}
    print(json.dumps({**line, **environment()}))


def serve(options: argparse.Namespace) -> None:
    """Answer with the seconds of a block of steps, each on another batch."""
    import jax

    from imgrec_jax import get_config
    from imgrec_jax.build import build_experiment
    from imgrec_jax.training import host

    size, batch_size = SIZES.get(options.model, 224), options.batch
    changes: dict[str, Any] = {"batch_size": batch_size, "model__name": options.model}
    changes["ops"] = options.ops
    classes = 10 if size == 32 else 1000
    changes["data__source"] = f"synthetic:{4 * batch_size},{size}x{size}x3,{classes}"
    if options.model.startswith("resnet") and size == 32:
        changes[f"model__{options.model}__stem"] = "cifar"
    host.make_cpu_devices("auto", batch_size)
    if jax.default_backend() != "cpu":
        changes["precision"] = "bfloat16"
    experiment = build_experiment(get_config("cifar10_reference", **changes))
    program = experiment.train_program()
    root, state = experiment.parallel.replicate(experiment.root_key), experiment.init()
    calls = -(-options.steps // experiment.steps_per_call)
    batches = itertools.cycle([experiment.train(k, experiment.steps_per_call) for k in range(4)])

    def block() -> Found:
        nonlocal state
        started, waiting = time.perf_counter(), None
        for batch in itertools.islice(batches, calls):
            state, sums = program(state, batch, root)
            jax.block_until_ready(waiting)  # as the loop does: one call late
            waiting = sums
        jax.block_until_ready((state.params, waiting))
        seconds = time.perf_counter() - started
        return {"seconds": seconds * options.steps / (calls * experiment.steps_per_call)}

    answer(block)


if __name__ == "__main__":
    main()
