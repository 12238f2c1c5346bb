"""Derive random keys from their purpose; no key is stored or split along the way.

A run has one root key, made from its seed. Folding in a `RootStream` gives the keys of steps, of
examples in training, of initialisation, and of examples in evaluation and of samples.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Int, Key

from imgrec_jax.core.random_streams import RootStream


def init_key(root: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key that initialises the parameters."""
    return jax.random.fold_in(root, RootStream.INITIALISATION)


def step_key(
    root: Key[Array, ""],
    step: Int[Array, ""] | int,
    device: Int[Array, ""] | int,
    micro_batch: Int[Array, ""] | int,
) -> Key[Array, ""]:
    """Return the key for randomness that may depend on the shard: dropout, stochastic depth."""
    key = jax.random.fold_in(jax.random.fold_in(root, RootStream.STEPS), step)
    return jax.random.fold_in(jax.random.fold_in(key, device), micro_batch)


def example_keys(
    root: Key[Array, ""], epoch: Int[Array, " *n"], index: Int[Array, " *n"]
) -> Key[Array, " *n"]:
    """Return a key per example, a function of (root, epoch, index) alone.

    So the augmented image of an example in an epoch is the same for every batch size, device
    count and position in the batch.
    """
    root = jax.random.fold_in(root, RootStream.EXAMPLES)

    def one(epoch: Int[Array, ""], index: Int[Array, ""]) -> Key[Array, ""]:
        return jax.random.fold_in(jax.random.fold_in(root, epoch), index)

    return _over_all_axes(one, index.ndim)(epoch, index)


def evaluation_keys(root: Key[Array, ""], index: Int[Array, " *n"]) -> Key[Array, " *n"]:
    """Return a key per example of an evaluation, or per sample: a function of (root, index) alone.

    So the random numbers for an example are the same for every batch size and device count.
    """
    root = jax.random.fold_in(root, RootStream.EVALUATION)
    return _over_all_axes(lambda index: jax.random.fold_in(root, index), index.ndim)(index)


def _over_all_axes(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    for _ in range(axes):
        function = jax.vmap(function)
    return function
