"""Facts: a JSON-compatible record of what a network's inputs and outputs mean.

A source provides facts (`Source.facts`), a task is built from them, and every checkpoint stores
them, so that a run can be restored without its data.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from imgrec_jax.core.task import Facts

Spec = Mapping[str, Mapping[str, Any]]
"""For each field, the `shape` (without the example axis) and the `dtype` of an example's array."""


def element_spec(batch: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Return the element spec of a batch, whose arrays have a leading example axis."""
    return {
        name: {"shape": list(array.shape[1:]), "dtype": str(array.dtype)}
        for name, array in batch.items()
        if array.dtype.kind in "biuf"
    }


def blank_batch(facts: Facts, examples: int = 1) -> dict[str, Any]:
    """Return a batch of blank examples with the shapes and dtypes that a network expects."""
    batch = {
        name: np.zeros((examples, *spec["shape"]), spec["dtype"])
        for name, spec in facts["element_spec"].items()
    }
    return {**batch, "mask": np.ones(examples, bool)}


def completed(facts: Facts) -> Facts:
    """Return facts with an element spec: checkpoints of version 0.1.0 describe only the image."""
    if "element_spec" in facts:
        return facts
    dtype = facts.get("config", {}).get("data", {}).get("dtype", "uint8")
    spec = {
        "image": {"shape": list(facts["image_shape"]), "dtype": dtype},
        "label": {"shape": [], "dtype": "int32"},
    }
    return {**facts, "element_spec": spec}
