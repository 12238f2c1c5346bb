"""Products of large matrices, timed in blocks: the most that a device computes.

Answers each line on its standard input with the seconds of a block and its operations: bfloat16
matrices of `--side` on an accelerator, float32 on a CPU.
"""

import argparse
import time

import jax
import jax.numpy as jnp

from benchmarks.turns import Found, answer


def main() -> None:
    """Answer with the seconds of a row of products, each of the result of the one before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--products", type=int, default=100, help="in a block")
    options = parser.parse_args()
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    # Signs over the root of the side keep the numbers as large as they are.
    signs = jax.random.rademacher(jax.random.key(0), (options.side, options.side), jnp.float32)
    matrix = (signs * options.side**-0.5).astype(dtype)

    @jax.jit
    def multiply(matrix: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, options.products, lambda _, y: y @ matrix, matrix)

    def block() -> Found:
        started = time.perf_counter()
        jax.block_until_ready(multiply(matrix))
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "operations": 2.0 * options.side**3 * options.products}

    answer(block)


if __name__ == "__main__":
    main()
