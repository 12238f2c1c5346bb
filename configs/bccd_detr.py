"""DETR on blood cells (BCCD), small: an encoder of 16 to 128 channels, 1,078,776 parameters.

    python -m imgrec_jax.main --config=configs/bccd_detr.py --config.data.source=voc:bccd.tar
    python -m imgrec_jax sweep --config=bccd_detr --seeds=3 --config.data.source=voc:bccd.tar

Measured: it learns the first 16 training images by heart, in one batch without augmentation and
dropout (tests/runs/test_detr_run.py): scored on these very images, AP50 97.9 % after 400 steps,
91.2 after 600, 100.0 from 700 on, and AP 100.0 from 1,300 to the end at 1,500. Seed 0 alone.
1,449 s on two CPU cores busy with other work; matching is 6 ms of a step's 0.9 s; jax 0.10.2.

Not measured: all 205 images to the end. After 17 epochs (221 steps) test AP50 was 1.4 %, and
1.9 % with a rate of 4e-4 and without dropout: it still said much the same of every image. The
published DETR takes 300 to 500 epochs of 118,000 images from a pretrained encoder; where
images are few, bccd_fcos is the better start.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 300
    config.batch_size = 16
    config.eval_batch_size = 32
    config.data.source = "voc:BCCD"
    config.data.image_shape = "120x160"
    config.data.max_boxes = 32
    config.data.normalization = "standard"
    config.augment = "flip|vertical_flip|random_resized_crop(low=0.5, aspect=1.2)"
    config.task.name = "detect"
    config.model.name = "detr"
    config.model.detr.encoder = "plain(width=16, depth=4, stride=2)"
    config.model.detr.width = 128
    config.model.detr.hidden = 256
    config.model.detr.encoder_depth = 1
    config.model.detr.decoder_depth = 3
    config.model.detr.queries = 40
    config.model.detr.dropout = 0.1
    config.optim.name = "adamw"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine(warmup=0.05)"
    config.optim.clip_norm = 0.1
    config.optim.adamw.weight_decay = 1e-4
    return config
