"""ResNet-50 on ImageNet, 25,557,032 parameters: the 90 epochs that everyone compares with.

    python -m imgrec_jax.main --config=configs/imagenet_resnet50.py \
        --config.data.source=imagenet:PATH --config.batch_size=2048
    python -m imgrec_jax sweep --config=imagenet_resnet50 --seeds=3 \
        --config.data.source=imagenet:PATH --config.batch_size=2048

PATH is the folder with the official tar files, or with what they unpack to. SGD with a rate of 0.1
for every 256 images of a batch, five epochs of warm-up and a decay of 1e-4 that leaves norms and
biases alone (Goyal et al. 2017, "Accurate, Large Minibatch SGD"), which falls as a cosine, with
label smoothing 0.1. Any batch_size scales the rate; that paper did so up to 8,192 images.

Expected from the paper: top-1 accuracy 76.3 ± 0.1 % on the validation set (error 23.74 ± 0.09 %
at 8,192, 5 runs, where the rate falls in steps and labels are not smoothed).

Not measured here.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 90
    config.batch_size = 1024
    config.precision = "bfloat16"
    config.data.source = "imagenet:data/imagenet"
    config.data.image_size = 224
    config.data.normalization = "imagenet"
    config.data.crop = "random_resized_crop"
    config.augment = "flip"
    config.model.name = "resnet50"
    config.task.label_smoothing = 0.1
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.1
    config.optim.reference_batch = 256
    config.optim.schedule = "cosine(warmup=0.056)"
    config.optim.sgd.weight_decay = 1e-4
    return config
