"""The terms of the segmentation loss, by the names that configs use."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.ranges import NOT_NEGATIVE, Range
from imgrec_jax.ops import segmentation_losses
from imgrec_jax.tasks.loss_terms import Term

GAMMA = Range(float, 0, 100)
Logits = Float[Array, "n h w k"]


class PixelLoss(NamedTuple):
    """A term of the loss, and the function for its values.

    Attributes:
        term: its name, its weight and the count that divides it: "pixels" (valid ones, or the sum
            of their weights if classes have weights) or "images" (those with a valid pixel).
        values: `(logits, labels, valid, class weights, label smoothing) -> float32[n]`.
    """

    term: Term
    values: Callable[..., Float[Array, " n"]]


def cross_entropy(weight: Annotated[float, NOT_NEGATIVE] = 1.0) -> PixelLoss:
    """Return the loss term: mean cross-entropy over valid pixels."""
    term = Term("cross_entropy", "pixels", weight)
    return PixelLoss(term, segmentation_losses.cross_entropy_sums)


def focal(
    weight: Annotated[float, NOT_NEGATIVE] = 1.0, gamma: Annotated[float, GAMMA] = 2.0
) -> PixelLoss:
    """Return the loss term: mean of `segmentation_losses.focal_sums` over valid pixels."""

    def values(logits: Logits, labels: Array, valid: Array, weights: Any, _: float) -> Array:
        return segmentation_losses.focal_sums(logits, labels, valid, weights, gamma)

    return PixelLoss(Term("focal", "pixels", weight), values)


def dice(weight: Annotated[float, NOT_NEGATIVE] = 1.0) -> PixelLoss:
    """Return the loss term: mean over images of `segmentation_losses.dice_losses`."""
    return _over_images("dice", weight, segmentation_losses.dice_losses)


def lovasz(weight: Annotated[float, NOT_NEGATIVE] = 1.0) -> PixelLoss:
    """Return the loss term: mean over images of `segmentation_losses.lovasz_losses`."""
    return _over_images("lovasz", weight, segmentation_losses.lovasz_losses)


def _over_images(name: str, weight: float, losses: Callable[..., Array]) -> PixelLoss:
    term = Term(name, "images", weight)
    return PixelLoss(term, lambda logits, labels, valid, *_: losses(logits, labels, valid))


LOSSES: Mapping[str, Callable[..., PixelLoss]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "lovasz": lovasz,
}


def read_losses(text: str) -> list[PixelLoss]:
    """Return the terms of a loss such as "cross_entropy|dice(0.5)".

    Terms are numbered, since a loss may occur twice, as in "focal(gamma=1)|focal(gamma=2)".

    Raises:
        UsageError: no term, or an unknown one.
    """
    parts = [bind_call("loss", call, LOSSES) for call in parse_pipeline(text)]
    if not parts:
        raise UsageError(
            f"expected task.segment.loss with one term or more, got '{text}'; "
            "try 'cross_entropy|dice(0.5)'"
        )
    return [
        part._replace(term=dataclasses.replace(part.term, name=str(k)))
        for k, part in enumerate(parts)
    ]
