"""Handwritten digits, 8x8, that come with scikit-learn: learned offline in a minute."""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 60
    config.batch_size = 64
    config.data.source = "digits"
    config.data.normalization = "symmetric"
    config.augment = "pad_crop(pad=1)|scale(0.9, 1.1)|noise(0.05)"
    config.model.name = "convnet"
    config.model.convnet.width = 64
    config.optim.name = "adam"
    config.optim.learning_rate = 5e-3
    config.optim.schedule = "cosine(warmup=0.1)"
    return config
