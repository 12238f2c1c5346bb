"""Build the facts of a run: metadata on the inputs and outputs of its network."""

from typing import Any

import numpy as np

from imgrec_jax.build.preprocessing import normalization
from imgrec_jax.config import Config
from imgrec_jax.core.facts import element_spec
from imgrec_jax.core.fields import LABEL_MAP, of_kind
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import Source, facts_of, targets_of


def describe(config: Config, batches: TrainBatches) -> dict[str, Any]:
    """Return the metadata of a checkpoint: everything that scoring needs except the data."""
    train = batches.source
    spec = element_spec(batches.first_example())
    images = {}
    if "image" in spec:
        mean, std = normalization(config.data.normalization, train)
        images = {"mean": mean, "std": std}
    return {
        "config": config.to_dict(),
        "label_names": list(train.label_names),
        "class_counts": _class_counts(train),
        "image_shape": list(train.image_shape),
        "element_spec": spec,
        "mean": [0.0],
        "std": [1.0],
        **images,
        **facts_of(train),
        **batches.sampler.facts,
    }


def _class_counts(train: Source) -> list[int]:
    """Return the number of images per class; for label maps, the number of pixels."""
    classes = len(train.label_names)
    maps = next(iter(of_kind(targets_of(train), LABEL_MAP).values()), None)
    if maps is None:
        return np.bincount(train.labels, minlength=classes).tolist()
    # One image at a time, since bincount converts its input to eight bytes per value.
    counts = sum((np.bincount(m.ravel(), minlength=classes)[:classes] for m in maps), np.array(0))
    return counts.tolist()
