"""Barriers for XLA on CPU: they control where and when values are computed.

XLA decides what it fuses and in which order it computes, and on the CPU backend its choices can
cost more than the arithmetic. Each function here returns its values unchanged and constrains how
the compiler computes them:

- `materialize` computes an image once and keeps it in memory, where fusion would compute it again
  in each operation that reads it.
- `separate` keeps values out of the loops that read them, for any tree, with a conditional.
- `after` computes values no earlier than others, for devices that share threads.

`jax.lax.optimization_barrier` is meant for this and does not always help: up to JAX 0.10 XLA's CPU
pipeline removes optimization barriers before it fuses and schedules. These functions use what
fusion does not change: a matrix product, a conditional, a data dependency. Other platforms need no
barriers: `materialize` does nothing there; `separate` and `after` are called only for CPU devices.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from imgrec_jax.core.task import PyTree

_BLOCK = 8


def materialize(image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Return the image unchanged, computed once.

    XLA fuses a stage of augmentation into each consumer, and on CPU recomputes it for each read:
    a blur of thirteen taps after a rotation rotates the image thirteen times. A product
    with the identity is exact, is not fused into loops, and costs as much as a copy. (SimCLR
    pipeline of five stages, 256 images: 107 ms without it, 19 ms with it.)

    Args:
        image: finite values of any range; the product would spread a non-finite value over eight
            values. On platforms other than CPU, and if h · w · c is not a multiple of eight, the
            function does nothing.
    """

    def multiply(values: Array) -> Array:
        identity = jnp.eye(_BLOCK, dtype=values.dtype)
        exact = lax.Precision.HIGHEST
        rows = jnp.matmul(values.reshape(-1, _BLOCK), identity, precision=exact)
        return rows.reshape(values.shape)

    if math.prod(image.shape) % _BLOCK:
        return image
    return lax.platform_dependent(image, cpu=multiply, default=lambda values: values)


def separate(values: PyTree) -> PyTree:
    """Return a tree of arrays unchanged, computed separately from the loops that read it.

    XLA copies a cheap operation into every loop that reads its result. On CPU that can cost more
    than the memory would: max pooling's comparisons were repeated for each pixel of the gradient,
    which took 0.8 ms of a 10 ms step instead of 0.15, and loops whose last operation is a reshape
    are not vectorised. The values pass through the branch of a conditional that is always taken:
    conditionals are not fused, and the barrier around the condition hides that it is a constant.
    """
    never = lax.optimization_barrier(jnp.zeros((), bool))
    return lax.cond(never, lambda v: jax.tree.map(jnp.zeros_like, v), lambda v: v, values)


def after(before: PyTree, values: PyTree) -> PyTree:
    """Return a tree of arrays unchanged, computed once `before` has been computed.

    For CPU devices, which share a few threads: a device that waits in a collective (`psum`) holds
    one of them, so work that starts too early slows down all others. The function makes the values
    depend on the first number of each array of `before`, through a comparison that is never true.

    Args:
        before: arrays of numbers, any values; empty ones are ignored.
        values: arrays of any type.
    """
    leaves = [leaf for leaf in jax.tree.leaves(before) if leaf.size]
    first = [jnp.ravel(leaf)[0].astype(jnp.float32) for leaf in leaves]
    if not first:
        return values
    never = jnp.stack(first).max() > jnp.inf
    return jax.tree.map(lambda value: jnp.where(never, jnp.zeros_like(value), value), values)
