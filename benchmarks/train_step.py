"""The training step of a network beside torch's, on the same device, block by block in turn.

    python -m benchmarks.train_step --torch-python=PATH [--model=convnet] [--batch=64]

Ours is the program of a run, with its augmentation left out: it sends a uint8 batch, normalises
it and takes a step of Adam in float32. Torch's is as quick as plain torch is: channels_last, its
images made into tensors beforehand; on a GPU with bfloat16 autocast and torch.compile, where
ours computes in bfloat16 too, from images that lie there. `--side=8192` lets the product of two
large matrices take turns as well, and tells the share of its rate that the steps reach; `--plain`
ours without quick forms. Prints the ratio, its spread and one JSON line.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.turns import Found, answer, environment, has, ratios, spread, take_turns
from imgrec_jax.core.huge_pages import restart_with_huge_pages

TORCH = Path(__file__).resolve().parent / "torch_step.py"
MULTIPLY_ADDS = {"resnet50": 4.09e9, "vit_s16": 4.60e9, "vit_b16": 17.56e9}
"""Of one image of 224x224 on its way forward; learning from it takes three times as many."""


def main() -> None:
    """Let all take turns and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="convnet", help="convnet, resnet18/50, vit_ti4/s16/b16")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no round after them")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--ops", default="auto", help="plain: without the quick forms")
    parser.add_argument("--plain", action="store_true", help="time ours without quick forms, too")
    parser.add_argument("--side", type=int, default=0, help="of matrices that are multiplied")
    parser.add_argument("--block", action="store_true", help="be our side")
    options = parser.parse_args()
    if options.block:
        restart_with_huge_pages("benchmarks")  # as the command for training does
        serve(options)
        return
    found = take_turns(commands(options), options.rounds, options.seconds)
    title = f"{options.model}, batch {options.batch}"
    line = {name: getattr(options, name) for name in ("model", "batch", "steps", "ops")}
    for name in [name for name in ("torch", "plain") if name in found]:
        line[f"over_{name}"] = ratios(found, "seconds", "imgrec_jax", name)
        text = f"{spread(line[f'over_{name}'])}, n={len(line[f'over_{name}'])}"
        print(f"{title}: ours / {name} {text}")
    shares = utilisation(options, found)
    for name in [name for name in found if name != "matrices"]:
        step = statistics.median(block["seconds"] for block in found[name]) / options.steps
        rate = f"{name:<12} {1e3 * step:8.2f} ms a step {options.batch / step:10,.0f} images/s"
        print(rate + (f", utilisation {shares[name]:.1%}" if name in shares else ""))
    line |= {"utilisation": shares, "found": found}
    print(json.dumps({"benchmark": "train_step", **line, **environment()}))


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the programs by name; a line tells where torch is not to be had."""
    from benchmarks.steps import SIZES

    flags = [f"--{name}={getattr(options, name)}" for name in ("model", "batch", "steps")]
    ours = [sys.executable, "-m", "benchmarks.train_step", "--block", *flags]
    programs = {"imgrec_jax": [*ours, f"--ops={options.ops}"]}
    if options.plain:
        programs["plain"] = [*ours, "--ops=plain"]
    if has(options.torch_python, "torch"):
        size = f"--size={SIZES.get(options.model, 32)}"
        programs["torch"] = [options.torch_python, str(TORCH), size, *flags]
    else:
        print(f"no peer: {options.torch_python} has no torch; try --torch-python=PATH")
    if options.side:
        programs["matrices"] = [sys.executable, "-m", "benchmarks.matrices"]
        programs["matrices"] += [f"--side={options.side}"]
    return programs


def utilisation(options: argparse.Namespace, found: Mapping[str, list[Found]]) -> dict[str, float]:
    """Return the rate of a network's own operations over that of large matrices, by program.

    Model FLOP utilisation as in Chowdhery et al. 2022 ("PaLM", appendix B), the measured peak for
    the maker's. Nothing where either is not known.
    """
    if "matrices" not in found or options.model not in MULTIPLY_ADDS:
        return {}
    operations = 3 * 2 * MULTIPLY_ADDS[options.model] * options.batch * options.steps
    peak = statistics.median(block["operations"] / block["seconds"] for block in found["matrices"])
    print(f"matrices of {options.side}: {peak / 1e12:,.1f} TFLOP/s")
    return {
        name: operations / statistics.median(block["seconds"] for block in blocks) / peak
        for name, blocks in found.items()
        if name != "matrices"
    }


def serve(options: argparse.Namespace) -> None:
    """Answer with the seconds of a block of steps, each on another batch."""
    from benchmarks.steps import Steps, made_up
    from imgrec_jax.training.host import host

    host.keep_compiled_programs()
    host.make_cpu_devices("auto", options.batch)
    steps = Steps(made_up(options.model, options.batch, ops=options.ops))

    def block() -> Found:
        # A program that waits has its free memory taken away, and has to be given it again.
        steps.take(1)
        return {"seconds": options.steps * steps.take(options.steps)}

    answer(block)


if __name__ == "__main__":
    main()
