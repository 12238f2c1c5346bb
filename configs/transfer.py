"""A trained network and a few new pictures: fine-tuning with a new head, deeper layers slower.

    python -m imgrec_jax.main --config=configs/transfer.py --config.init_from=RUN

RUN is the workdir of a run (with `model` as it was there), or a .safetensors file.
"""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 100
    config.eval_every = 50
    config.batch_size = 50
    config.data.source = "cifar10"
    config.data.normalization = "symmetric"  # of the network that is transferred
    config.data.classes = ""  # such as "automobile,cat,dog,horse,truck"
    config.data.examples_per_class = 0  # such as 10
    config.checkpoint.every_steps = 50
    config.augment = "pad_crop(pad=4)|flip"
    config.model.name = "resnet18"
    config.model.resnet18.stem = "cifar"
    config.model.resnet18.width = 16
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.02
    config.optim.schedule = "cosine(warmup=0.1)"
    config.optim.layers = "^conv/|^norm/;stage([0-9]+)/;head"
    config.optim.layer_decay = 0.5
    return config
