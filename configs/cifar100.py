"""The ConvNet of cifar10 on the hundred classes of CIFAR-100, read from the official archive.

    python -m imgrec_jax.main --config=configs/cifar100.py --config.data.source=cifar100:PATH
    python -m imgrec_jax sweep --config=cifar100 --seeds=3 --config.data.source=cifar100:PATH

PATH is the folder with `cifar-100-binary.tar.gz`, or with what it unpacks to. The recipe is that
of cifar10, with twice the width for ten times the classes. Accuracy, time and memory are not
measured yet.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 30
    config.batch_size = 64
    config.data.source = "cifar100:data"
    config.data.normalization = "symmetric"
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "convnet"
    config.model.convnet.width = 64
    config.task.label_smoothing = 0.1
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "linear(warmup=0.2)"
    return config
