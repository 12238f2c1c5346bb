"""A trained network and a few new images: fine-tuning with a new head, deeper layers slower.

    python -m imgrec_jax.main --config=configs/transfer.py --config.init_from=RUN

RUN is the workdir of a run (with `model` as it was there), a .safetensors file, or a name such as
hf:timm/resnet50.a1_in1k.

Measured on the JPEG (quality 75) copy of CIFAR-10, with this ResNet-18 (700,821 parameters) that
knew five classes, on the other five of which it saw 10 images each: test accuracy 52.6 ± 2.2 %,
and from scratch 35.2 ± 1.5 % (5 draws of images, mean and standard deviation; see
docs/transfer.md). A run takes one to two minutes on two CPU cores that were busy with other work,
the training before 57; jax 0.10.2. `python -m benchmarks.transfer --data=folder:PATH` does it all.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
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
