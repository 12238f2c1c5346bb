"""Histograms of all arrays of a tree, computed on the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name

BINS = 30


class Histogram(NamedTuple):
    """Histogram of the numbers of an array, with `BINS` bins of equal width.

    Attributes:
        low: the smallest number, lower edge of the first bin.
        high: the largest number, upper edge of the last bin.
        counts: int32[BINS].
        sum: of all numbers.
        squares: the sum of their squares.
    """

    low: Any
    high: Any
    counts: Any
    sum: Any
    squares: Any


def histograms(tree: PyTree) -> dict[str, Histogram]:
    """Return a histogram of each floating-point array of a tree, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        path_name(path): _histogram(leaf.astype(jnp.float32).reshape(-1))
        for path, leaf in leaves
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size
    }


def _histogram(x: jax.Array) -> Histogram:
    low, high = x.min(), x.max()
    part = (x - low) / jnp.where(high > low, high - low, 1.0)
    place = jnp.clip((part * BINS).astype(jnp.int32), 0, BINS - 1)
    counts = jnp.zeros(BINS, jnp.int32).at[place].add(1)
    return Histogram(low, high, counts, x.sum(), (x * x).sum())


def kept_gradient() -> optax.GradientTransformation:
    """Return an optimizer that makes no updates and stores the gradient as its state."""

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        del state, params
        return jax.tree.map(jnp.zeros_like, updates), updates

    return optax.GradientTransformation(lambda params: (), update)
