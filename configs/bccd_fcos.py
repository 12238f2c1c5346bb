"""FCOS on blood cells (BCCD), small enough to learn from scratch on two CPU cores.

    python -m imgrec_jax.main --config=configs/bccd_fcos.py --config.data.source=voc:bccd.tar

Not measured yet.
"""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 40
    config.batch_size = 8
    config.eval_batch_size = 32
    config.data.source = "voc:BCCD"
    config.data.image_shape = "240x320"
    config.data.max_boxes = 32
    config.data.normalization = "standard"
    config.augment = "flip|vertical_flip|random_resized_crop(low=0.5, aspect=1.2)"
    config.task.name = "detect"
    config.model.name = "fcos"
    config.model.fcos.width = 48
    config.model.fcos.depth = 1
    config.optim.name = "adamw"
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "cosine(warmup=0.05)"
    config.optim.adamw.weight_decay = 0.05
    return config
