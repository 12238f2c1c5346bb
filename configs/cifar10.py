"""The reference ConvNet with flips, random crops and a schedule."""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 20
    config.batch_size = 64
    config.data.source = "cifar10"
    config.data.normalization = "symmetric"
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "convnet"
    config.task.label_smoothing = 0.05
    config.optim.name = "adam"
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "linear(warmup=0.2)"
    return config
