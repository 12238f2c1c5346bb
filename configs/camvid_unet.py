"""U-Net from scratch on CamVid's street scenes at 120x160: 11 classes, 367 training frames.

The data are the frames of SegNet's split (367 / 101 / 233), `train/` beside `trainannot/`:

    python -m imgrec_jax.main --config=configs/camvid_unet.py \
        --config.data.source=masks:camvid.tar --workdir=runs/camvid_unet
    python -m imgrec_jax sweep --config=camvid_unet --seeds=3 --config.data.source=masks:camvid.tar

Measured, seed 0 alone (n = 1), at step 1,150 of 1,380, which val mIoU (0.504) selected:

    test mIoU             0.407
    test pixel accuracy   0.808
    test boundary F1      0.425

By class: sky 0.86, road 0.85, building 0.67, car 0.58, tree 0.57, pavement 0.55, pedestrian
0.18, sign 0.12, fence 0.10, pole and bicyclist 0.00: what is thin or rare is lost at this size.
1.1 million parameters, 1,392 s on two CPU cores that were busy with other work (303 s of it
scoring); jax 0.10.2. Published from scratch at 360x480: SegNet 0.464, FCN-8 0.570.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
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
    config.model.unet.encoder = "plain(width=24, depth=4, stride=2)"
    config.optim.name = "adam"
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "cosine(warmup=0.05)"
    return config
