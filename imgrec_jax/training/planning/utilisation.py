"""Assumed part of a device's peak operations that the networks of a family reach.

Assumptions of the order that is reported for well-tuned code on large batches; none was measured
here. Products of large matrices reach the most, depthwise convolutions the least.
"""

from collections.abc import Mapping

UTILISATION: Mapping[str, float] = {
    "vit": 0.4,
    "mixer": 0.4,
    "resnet": 0.2,
    "wrn": 0.2,
    "convnext": 0.2,
    "mobilenet": 0.1,
    "efficientnet": 0.1,
}
"""By the beginning of the model's name."""

OTHERS = 0.2
"""Of all other networks, which consist of ordinary convolutions for the most part."""


def utilisation(model: str) -> tuple[str, float]:
    """Return the family of a model, and its part of the peak."""
    found = next((family for family in UTILISATION if model.startswith(family)), "")
    return (found, UTILISATION[found]) if found else ("others", OTHERS)
