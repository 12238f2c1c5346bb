"""ResNet-18 with a stem for small images, 11,220,132 parameters, on CIFAR-100.

    python -m imgrec_jax.main --config=configs/cifar100_resnet18.py \
        --config.data.source=cifar100:PATH
    python -m imgrec_jax sweep --config=cifar100_resnet18 --seeds=3 \
        --config.data.source=cifar100:PATH

PATH is the folder with `cifar-100-binary.tar.gz`, or with what it unpacks to. The recipe is that
of cifar10_resnet18.

Expected from the paper: test accuracy 77.54 ± 0.31 % (error 22.46 ± 0.31 %, 5 runs; DeVries &
Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout", table 1,
ResNet18 on C100+), with the differences that cifar10_resnet18 tells of. With
--config.augment='pad_crop(pad=4)|flip|cutout(8)' they have 78.04 ± 0.24 %.

Not measured here.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 200
    config.batch_size = 128
    config.data.source = "cifar100:data"
    config.data.normalization = "standard"
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "resnet18"
    config.model.resnet18.stem = "cifar"
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.1
    config.optim.reference_batch = 128
    config.optim.schedule = "cosine"
    return config
