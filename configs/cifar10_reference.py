"""The plain program: a small ConvNet on CIFAR-10 with Adam, and nothing else."""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the reference recipe."""
    config = get_base()
    config.epochs = 20
    config.batch_size = 64
    config.data.source = "cifar10"
    config.data.normalization = "symmetric"
    config.model.name = "convnet"
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    return config
