"""What it costs that every run gives the same bits.

    python -m benchmarks.deterministic [--model=resnet18] [--batch=128] [--rounds=5]

The training step with `--xla_gpu_deterministic_ops` in XLA_FLAGS beside one without it, block by
block in turn; and whether a row of steps, begun twice from the same state, ends with the same
parameters. On a CPU the flag changes nothing. Prints the ratio and one JSON line.
"""

import argparse
import json
import os
import sys

import jax
import numpy as np

from benchmarks.steps import Steps, made_up
from benchmarks.turns import Found, answer, environment, ratios, spread, take_turns
from imgrec_jax.training.host import host

FLAG = "--xla_gpu_deterministic_ops=true"


def main() -> None:
    """Let both take turns and print what the flag costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", action="store_true", help="be one of the two")
    options = parser.parse_args()
    if options.block:
        serve(options)
        return
    flags = [f"--{name}={getattr(options, name)}" for name in ("model", "batch", "steps")]
    program = [sys.executable, "-m", "benchmarks.deterministic", "--block", *flags]
    flagged = ["env", f"XLA_FLAGS={os.environ.get('XLA_FLAGS', '')} {FLAG}", *program]
    found = take_turns({"deterministic": flagged, "plain": program}, options.rounds)
    shares = ratios(found, "seconds", "deterministic", "plain")
    print(
        f"{options.model}, batch {options.batch}: with the flag {spread(shares)}, n={len(shares)}"
    )
    for name, blocks in found.items():
        print(f"{name}: {blocks[-1]['different']:.0f} of its arrays differ when run again")
    line = {"benchmark": "deterministic", "model": options.model, "batch": options.batch}
    print(json.dumps({**line, "ratios": shares, "found": found, **environment()}))


def serve(options: argparse.Namespace) -> None:
    """Answer with the seconds of a block of steps, and how many arrays differ the second time."""
    host.keep_compiled_programs()
    steps = Steps(made_up(options.model, options.batch))
    first = jax.device_get(steps.state)

    def once() -> tuple[float, list[np.ndarray]]:
        steps.state = steps.experiment.parallel.place(first)
        seconds = options.steps * steps.take(options.steps)
        return seconds, jax.tree.leaves(jax.device_get(steps.state.params))

    def block() -> Found:
        (seconds, one), (_, other) = once(), once()
        different = sum(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        return {"seconds": seconds, "different": float(different)}

    answer(block)


if __name__ == "__main__":
    main()
