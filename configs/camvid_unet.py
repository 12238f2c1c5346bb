"""U-Net from scratch on CamVid's street scenes at 120x160: 11 classes, 367 training frames.

The data are the frames of SegNet's split (367 / 101 / 233), `train/` beside `trainannot/`:

    python -m imgrec_jax.main --config=configs/camvid_unet.py \
        --config.data.source=masks:camvid.tar --workdir=runs/camvid_unet

"""

from ml_collections import ConfigDict

from .base import get_config as get_base


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = get_base()
    config.epochs = 30
    config.batch_size = 8
    config.eval_batch_size = 16
    config.task.name = "segment"
    config.task.segment.loss = "cross_entropy|dice(0.5)"
    config.data.source = "masks:camvid.tar"
    config.data.image_shape = "120x160"
    config.data.normalization = "standard"
    config.augment = "flip|random_resized_crop(low=0.3, aspect=1.3)|color_jitter"
    config.model.name = "unet"
    config.model.unet.encoder = "plain(width=24, stages=4, stride=2)"
    config.optim.name = "adam"
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "cosine(warmup=0.05)"
    return config
