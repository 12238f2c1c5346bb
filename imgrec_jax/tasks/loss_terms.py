"""Losses of several terms, each divided by its own count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.core.task import Counts


@dataclass(frozen=True)
class Term:
    """A term of the loss: the name of its sum, the count that divides it, and its weight."""

    name: str
    count: str
    weight: float = 1.0


def add_terms(terms: Sequence[Term], sums: Mapping[str, Array], counts: Counts) -> Float[Array, ""]:
    """Return the sum of the terms, each divided by its count; a count of 0 becomes 1."""
    total = jnp.zeros((), jnp.float32)
    for term in terms:
        count = counts[term.count]
        total += term.weight * sums[term.name] / jnp.where(count > 0, count, 1.0)
    return total
