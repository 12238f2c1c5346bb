r"""Better plain ViT baselines for ImageNet-1k (Beyer, Zhai & Kolesnikov 2022): ViT-S/16, 90 epochs.

Mean pooling, sin-cos positions, no dropout, RandAugment (two operations at level 10) and mixup of
0.2, batches of 1,024, gradients clipped to a norm of 1.

    python -m imgrec_jax.main --config=configs/imagenet_vit_s16.py \
        --config.data.source=imagenet:PATH
    python -m imgrec_jax sweep --config=imagenet_vit_s16 --seeds=3 \
        --config.data.source=imagenet:PATH

Not measured here. Expected from the paper (section 4): 76.5 % top-1 after 90 epochs, 6.5 hours on
a TPU v3-8. It differs from the paper's in this: warm-up is a part of training (0.09, 10,000 of
112,600 steps).
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 90
    config.batch_size = 1024
    config.precision = "bfloat16"
    config.data.source = "imagenet"
    config.data.image_size = 224
    config.data.normalization = "symmetric"
    config.data.crop = "random_resized_crop"
    config.augment = "flip|rand_augment(n=2, m=10)"
    config.mix = "mixup(alpha=0.2)"
    config.model.name = "vit_s16"
    config.model.vit.pool = "mean"
    config.model.vit.positions = "sincos"
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.adamw.weight_decay = 0.1  # decoupled: the paper's 1e-4 is not times the rate
    config.optim.schedule = "cosine(warmup=0.09)"
    config.optim.clip_norm = 1.0
    return config
