r"""ConvNeXt-T on ImageNet-1k: Liu et al. 2022, "A ConvNet for the 2020s", table 5.

300 epochs with AdamW, batches of 4,096, mixup, CutMix, RandAugment and random erasing.

    python -m imgrec_jax.main --config=configs/imagenet_convnext_t.py \
        --config.data.source=imagenet:PATH
    python -m imgrec_jax sweep --config=imagenet_convnext_t --seeds=3 \
        --config.data.source=imagenet:PATH

Not measured here. Expected from the paper (table 1): 82.1 % top-1.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 300
    config.batch_size = 4096
    config.precision = "bfloat16"
    config.data.source = "imagenet"
    config.data.image_size = 224
    config.data.normalization = "imagenet"
    config.data.crop = "random_resized_crop"
    config.augment = "flip|rand_augment|random_erasing(probability=0.25)"
    config.mix = "mixup(alpha=0.8)|cutmix"
    config.model.name = "convnext_tiny"
    config.model.convnext.stochastic_depth = 0.1
    config.task.label_smoothing = 0.1
    config.optim.name = "adamw"
    config.optim.learning_rate = 4e-3
    config.optim.adamw.weight_decay = 0.05
    config.optim.schedule = "cosine(warmup=0.067)"
    config.optim.ema_decay = 0.9999
    return config
