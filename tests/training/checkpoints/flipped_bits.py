"""Flips bits of a checkpoint: each is told, or what is read is what was saved.

    python flipped_bits.py FOLDER

One bit of each file in turn, in its first, middle and last byte. Prints how many were told, and
how many there were: some bytes mean nothing.
"""

import sys
from pathlib import Path

import jax
import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.orbax import Checkpoints


def main(folder: Path) -> None:
    # Random, and more than the format keeps among its names: the file holds the bare numbers.
    leaf = np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32)
    state = TrainState(np.int32(2), {"w": leaf}, {"s": leaf + 1}, ({"m": leaf}, np.int32(7)), {})
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {"n": 2, "labels": ["a", "b"]}, {})
    detected = flipped = 0
    for file in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
        whole = file.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            flipped += 1
            damaged = bytearray(whole)
            damaged[place] ^= 4
            file.write_bytes(damaged)
            if not reads_as_saved(folder, state):
                detected += 1
            file.write_bytes(whole)
    print(detected, flipped)


def reads_as_saved(folder: Path, state: TrainState) -> bool:
    """Tell whether the checkpoint can be read; raise where it is read as something else."""
    with Checkpoints(folder, read_only=True) as checkpoints:
        if checkpoints.steps != [2]:
            return False
        try:
            restored, meta = checkpoints.restore(2, state)
        except UserError:
            return False
    assert meta == {"n": 2, "labels": ["a", "b"]}
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
