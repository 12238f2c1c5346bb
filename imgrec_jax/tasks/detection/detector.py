"""Interface of detection heads: targets, losses, decoding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Array

from imgrec_jax.core.task import Batch, Counts
from imgrec_jax.tasks.loss_terms import Term


@dataclass(frozen=True)
class Detector:
    """A detection head: the terms of its loss, and the decoding of its outputs.

    Attributes:
        terms: of the loss.
        count: `(batch) -> {name: f32[]}`, the divisors of the terms; independent of parameters.
        sums: `(outputs of the network in training, batch) -> {name: array[]}`, the sums of all
            terms and, for the log, all counts.
        decode: `(outputs of the network, height, width) -> boxes [n, d, 4] in pixels, scores
            [n, d], labels int32[n, d]`, best first; rows without a detection have score 0.
    """

    terms: tuple[Term, ...]
    count: Callable[[Batch], Counts]
    sums: Callable[[Mapping[str, Array], Batch], dict[str, Array]]
    decode: Callable[[Mapping[str, Array], int, int], tuple[Array, Array, Array]]
