"""What the ways to drive devices cost on a single one: plain jit, pmap, shard_map and a mesh.

    python -m benchmarks.modes [--model=resnet18] [--batch=128] [--rounds=9]

The training step in each mode on the first device, block by block in turn, over that of plain
jit. Prints a table and one JSON line.
"""

import argparse
import json

from benchmarks.steps import Steps, made_up
from benchmarks.turns import environment
from benchmarks.work import Row, measure
from imgrec_jax.training.host import host


def main() -> None:
    """Time the modes and print their steps over that of plain jit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="in a block")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    host.keep_compiled_programs()

    def row(mode: str) -> Row:
        made = made_up(options.model, options.batch, parallel__mode=mode, parallel__devices="1")
        steps = Steps(made)
        steps.take(options.steps)
        return lambda: steps.take(options.steps) / options.batch, 0.0

    title = f"{options.model}, batch {options.batch}, on one device"
    modes = ("single", "pmap", "shard_map", "mesh")
    found = measure(title, {mode: row(mode) for mode in modes}, options.rounds)
    line = {"benchmark": "modes", "model": options.model, "batch": options.batch}
    print(json.dumps({**line, "modes": found, **environment()}))


if __name__ == "__main__":
    main()
