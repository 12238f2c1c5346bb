"""The reference ConvNet with flips, random crops and a learning rate that rises and falls.

The same 545,098 parameters, Adam and 20 epochs as cifar10_reference; augmentation and the
schedule are worth 12 points at the end.

    python -m imgrec_jax.main --config=configs/cifar10.py
    python -m imgrec_jax sweep --config=cifar10 --seeds=3

Measured on the JPEG (quality 75) copy of CIFAR-10: test accuracy 79.9 ± 0.2 % after the last
epoch (seeds 0 to 2, mean and standard deviation); a PyTorch recipe of the same kind reaches
79.3 % (n = 1). 185 s on two quiet CPU cores (n = 1; 79.6 % with seed 0) and 1.1 GiB at most;
jax 0.10.2. Tried with seed 0 and within the spread of seeds (79.1 to 79.6 %): crops of 2, no
smoothing with 3e-3 and a cosine, standard normalization with a cosine, batches of 32 with 1.5e-3.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 20
    config.batch_size = 64
    config.eval_batch_size = 64  # on CPU what is made of them stays in the cache
    config.data.source = "cifar10"
    config.data.normalization = "symmetric"
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "convnet"
    config.task.label_smoothing = 0.05
    config.optim.name = "adam"
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "linear(warmup=0.2)"
    return config
