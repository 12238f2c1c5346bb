"""FCOS with a ResNet-50 on Pascal VOC, from scratch, for a GPU.

    python -m imgrec_jax.main --config=configs/voc_fcos.py \
        --config.data.source=voc:VOCdevkit/VOC2012
    python -m imgrec_jax sweep --config=voc_fcos --seeds=3 \
        --config.data.source=voc:VOCdevkit/VOC2012

Not measured: neither time nor score. Detectors that start from ImageNet weights reach a VOC AP50
of 75 to 80 % here; from scratch expect clearly less.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 100
    config.batch_size = 16
    config.eval_batch_size = 32
    config.precision = "bfloat16"
    config.data.source = "voc:VOCdevkit/VOC2012"
    config.data.image_shape = "512x512"
    config.data.max_boxes = 60
    config.data.normalization = "imagenet"
    config.augment = "flip|random_resized_crop(low=0.3, aspect=1.33)"
    config.task.name = "detect"
    config.model.name = "fcos"
    config.model.fcos.encoder = "resnet50"
    config.model.fcos.width = 256
    config.model.fcos.depth = 4
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-4
    config.optim.schedule = "cosine(warmup=0.05)"
    config.optim.ema_decay = 0.999
    return config
