"""The predicted class of scores that may be NaN: one rule for all metrics."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

NO_CLASS = -1
"""The predicted class where a score is NaN. It equals no label, so it is wrong in every metric."""


def predicted_class(scores: Float[Array, "*n k"]) -> Int32[Array, "*n"]:
    """Return the class with the largest score (of equal ones the first), `NO_CLASS` for NaN."""
    return jnp.where(jnp.isnan(scores).any(-1), NO_CLASS, scores.argmax(-1)).astype(jnp.int32)
