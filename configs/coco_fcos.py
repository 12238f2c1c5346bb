"""FCOS with a ResNet-50 on COCO 2017, for a GPU.

    python -m imgrec_jax.main --config=configs/coco_fcos.py --config.data.source=coco:coco2017
    python -m imgrec_jax sweep --config=coco_fcos --seeds=3 --config.data.source=coco:coco2017

Not measured: neither time nor score. The paper's has AP 38.6 on val with a ResNet-50 that knows
ImageNet, five levels and sides of 800 pixels; this one has three levels (strides 8 to 32), squares
of 640 pixels and starts from nothing unless --config.init_from names a run.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 36
    config.batch_size = 16
    config.eval_batch_size = 32
    config.precision = "bfloat16"
    config.data.source = "coco:coco2017"
    config.data.image_shape = "640x640"
    config.data.max_boxes = 100
    config.data.normalization = "imagenet"
    config.augment = "flip|random_resized_crop(low=0.3, aspect=1.33)"
    config.task.name = "detect"
    config.model.name = "fcos"
    config.model.fcos.encoder = "resnet50"
    config.model.fcos.width = 256
    config.model.fcos.depth = 4
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-4
    config.optim.schedule = "cosine(warmup=0.02)"
    config.optim.ema_decay = 0.9998
    return config
