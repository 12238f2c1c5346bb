"""Open the splits of a data source in the input form of a trained network."""

from typing import Any

from ml_collections import ConfigDict

from imgrec_jax.build.source_kinds import source_spec
from imgrec_jax.build.tasks import open_data, task_spec
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Facts
from imgrec_jax.data.sources.source import Splits


def open_splits(saved: Config, facts: Facts, source: str = "") -> Splits:
    """Return the splits of a source in a run's image form, with the source's own classes.

    Args:
        saved: the config of the run.
        facts: of the run.
        source: kind:where; by default the run's own.

    Raises:
        UsageError: the source has images of another size.
    """
    expected = tuple(facts["image_shape"])
    config: Any = ConfigDict(saved.to_dict())
    config.data.unlabelled = ""  # for training alone
    height, width, channels = expected
    if source:
        config.data.source, config.data.holdout = source, 0.0
        config.data.classes, config.data.examples_per_class = "", 0
        spec = source_spec(source.partition(":")[0], task_spec(config).needs)
        if spec.decodes:
            config.data.channels = channels
        else:
            config.data.center_crop = 1.0
        if spec.shapes:
            if not (config.data.image_shape or config.data.image_size):
                config.data.image_shape = f"{height}x{width}"
        elif height == width and spec.resizes:
            config.data.image_size = height
    splits = open_data(config)
    if "image" not in facts["element_spec"]:
        return splits
    shape = next(iter(splits.values())).image_shape
    if shape != expected:
        raise UsageError(
            f"expected images of {expected} as in training, got {shape} "
            f"in {config.data.source}; try images of that size, or folder:PATH for any size"
        )
    return splits
