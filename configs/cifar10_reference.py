"""The plain program: a small ConvNet on CIFAR-10 with Adam, and nothing else.

It reproduces the program that everyone writes first: two convolutions, two dense layers, Adam
at 1e-3, batches of 64, 20 epochs, pixels to -1 .. 1, no augmentation. It overfits from the
sixth epoch on; that is what it is for.

    python -m imgrec_jax.main --config=configs/cifar10_reference.py
    python -m imgrec_jax sweep --config=cifar10_reference --seeds=3

Measured on the JPEG (quality 75) copy of CIFAR-10, seeds 0 to 2, mean and standard deviation
of the test accuracy in per cent; the same network in PyTorch (seed 0) beside it:

    after 5 epochs    69.6 ± 0.6    70.1
    best epoch        70.6 ± 0.6    70.8     (picked on the test set: optimistic)
    after 20 epochs   67.8 ± 0.7    68.1

On two quiet CPU cores 178 s (n = 1; 68.2 % with seed 0) and 0.8 GiB at most; jax 0.10.2.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the reference recipe."""
    config = start_from("base")
    config.epochs = 20
    config.batch_size = 64
    config.eval_batch_size = 64  # on CPU what is made of them stays in the cache
    config.data.source = "cifar10"
    config.data.normalization = "symmetric"
    config.model.name = "convnet"
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    return config
