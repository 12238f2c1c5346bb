"""Your own images: a folder with one sub-folder per class. Set one path.

    python -m imgrec_jax.main --config=configs/folder.py --config.data.source=folder:PATH

PATH may also be a zip or tar archive, have `train`, `val` and `test` above the class folders, or
a `labels.csv` in place of them. A tenth of the training images is held out to choose the best
step by; where PATH has a `val` of its own, add --config.data.holdout=0. Images of one patient,
plant or burst stay on one side with --config.data.group_by='patient([0-9]+)'. With fewer than 5,000
images, pretrained weights help more than any setting here: --config.init_from=RUN.

Scores depend on the images: none is measured yet.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.epochs = 30
    config.batch_size = 64
    config.data.source = "folder:data/images"
    config.data.image_size = 64
    config.data.holdout = 0.1
    config.data.normalization = "symmetric"
    config.augment = "pad_crop(pad=6)|flip"
    config.model.name = "convnet"
    config.task.label_smoothing = 0.05
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "linear(warmup=0.2)"
    return config
