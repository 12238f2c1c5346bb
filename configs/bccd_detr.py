"""DETR on blood cells (BCCD), small enough to learn from scratch on two CPU cores."""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 100
    config.batch_size = 16
    config.eval_batch_size = 32
    config.data.source = "voc:BCCD"
    config.data.image_shape = "120x160"
    config.data.max_boxes = 32
    config.data.normalization = "standard"
    config.augment = "flip|vertical_flip|random_resized_crop(low=0.5, aspect=1.2)"
    config.task.name = "detect"
    config.model.name = "detr"
    config.model.detr.encoder = "plain(width=16, depth=4, stride=2)"
    config.model.detr.width = 128
    config.model.detr.hidden = 256
    config.model.detr.encoder_depth = 1
    config.model.detr.decoder_depth = 3
    config.model.detr.queries = 40
    config.model.detr.dropout = 0.1
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine(warmup=0.05)"
    config.optim.clip_norm = 0.1
    config.optim.adamw.weight_decay = 1e-4
    return config
