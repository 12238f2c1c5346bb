"""Wide-ResNet-28-10, 36,479,194 parameters, on CIFAR-10: 200 epochs of SGD.

    python -m imgrec_jax.main --config=configs/cifar10_wrn28_10.py
    python -m imgrec_jax sweep --config=cifar10_wrn28_10 --seeds=3

Expected from the paper: test accuracy 96.00 % (error 4.00 %; Zagoruyko & Komodakis 2016, "Wide
Residual Networks", without dropout; the median of 5 runs). Theirs divides the rate by 5
after epochs 60, 120 and 160 where this one falls as a cosine, and decays norms and biases as well.
With --config.model.wrn28_10.dropout=0.3 they have 96.11 %. With
--config.model.name=wrn16_8 it is the smaller network of that paper, of 10,961,370 parameters.

Not measured here. It is 5.24 G multiply-adds for an image: made for a GPU or TPU.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 200
    config.batch_size = 128
    config.data.source = "cifar10"
    config.data.normalization = "standard"
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "wrn28_10"
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.1
    config.optim.reference_batch = 128
    config.optim.schedule = "cosine"
    return config
