"""Losses that are a mean over the examples of a batch: counted first, divided once."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.core.context import Context
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree


def count(batch: Batch) -> Counts:
    """Return the number of valid examples, `{"examples": f32[]}`: a `Task.count`."""
    return {"examples": batch["mask"].sum(dtype=jnp.float32)}


def sums(values: Mapping[str, Float[Array, " n"]], batch: Batch) -> dict[str, Array]:
    """Return the sums of values over valid examples, and the number of valid examples."""
    valid = {name: jnp.where(batch["mask"], each, 0).sum() for name, each in values.items()}
    return {"examples": batch["mask"].sum(dtype=jnp.int32), **valid}


def output(
    losses: Float[Array, " n"],
    model_state: PyTree,
    batch: Batch,
    context: Context,
    **values: Float[Array, " n"],
) -> LossOutput:
    """Return this shard's share of the mean loss, with `loss` and further values as sums.

    Args:
        losses: of each example; padding does not count.
        model_state: as the network returned it.
        batch: with its `mask`.
        context: with the count of `count`.
        values: further values of each example in training, by name.
    """
    added = sums({"loss": losses, **values}, batch)
    # A batch of padding only has count 0 and must have gradient 0, not 0 / 0.
    share = added["loss"] / jnp.maximum(context.counts["examples"], 1.0)
    return LossOutput(share, model_state, added)


def means(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores: each sum divided by the number of examples, NaN without examples."""
    del rows
    n = float(sums["examples"]) or float("nan")
    return {name: float(value / n) for name, value in sums.items() if name != "examples"}
