"""Holds the quick forms of `ops` to the speed that they were committed with.

    python -m benchmarks.guard [--rounds=9] [--write]

The training step of the ConvNet with `ops=auto` over that with `ops=plain`, block by block in
turn, both on one core: a ratio, so that no machine is too slow for it, nor too busy. Fails where
the median is more than a quarter above the one in `guard.json`; `--write` puts the new one there.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from benchmarks.turns import environment, ratios, spread, take_turns

COMMITTED = Path(__file__).resolve().parent / "guard.json"
_TOLERATED = 1.25


def main() -> int:
    """Time both forms and return 1 where the quick ones have lost too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="in a block")
    parser.add_argument("--write", action="store_true", help="commit to what is measured now")
    options = parser.parse_args()
    side = [sys.executable, "-m", "benchmarks.train_step", "--block", f"--steps={options.steps}"]
    if hasattr(os, "sched_setaffinity"):  # what else runs takes from both alike
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    commands = {ops: [*side, f"--ops={ops}"] for ops in ("auto", "plain")}
    shares = ratios(take_turns(commands, options.rounds), "seconds", "auto", "plain")
    found = {"benchmark": "guard", "ratios": shares, **environment()}
    print(f"auto / plain {spread(shares)}, n={len(shares)}")
    if options.write:
        COMMITTED.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return 0
    before = statistics.median(json.loads(COMMITTED.read_text(encoding="utf-8"))["ratios"])
    bound = _TOLERATED * before
    if statistics.median(shares) <= bound:
        return 0
    print(f"expected {bound:.2f} at most, a quarter above the committed {before:.2f}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
