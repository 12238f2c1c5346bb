"""Super-resolution x3 with FSRCNN, 12,809 parameters, from the 91 images of Yang et al. (2010).

    python -m imgrec_jax.main --config=configs/t91_fsrcnn.py \
        --config.data.source=super_resolution:superres.tar
    python -m imgrec_jax sweep --config=t91_fsrcnn --seeds=3 \
        --config.data.source=super_resolution:superres.tar

The data is an archive or a folder with the folders T91, Set5, Set14 and BSD100.

Measured: PSNR of luma on Set5 32.42 dB, Set14 29.01, BSD100 28.21 after 36,400 steps, where bicubic
enlargement has 30.39, 27.53 and 27.20. Seed 0 alone, so without a spread. 2,248 s in all, 1,965 of
them training, on two CPU cores busy with other work; jax 0.12. Published for these training images:
FSRCNN 33.06 on Set5 (Dong et al. 2016), ESPCN 32.55 and 29.14 on Set14 (Shi et al. 2016), SRCNN
32.39. The distance to the published FSRCNN is open.
"""

from ml_collections import ConfigDict

from imgrec_jax import start_from


def get_config() -> ConfigDict:
    """Return the recipe."""
    config = start_from("base")
    config.task.name = "super_resolution"
    config.task.super_resolution.update({"scale": 3, "channels": "y", "patch": 24, "loss": "l2"})
    config.data.source = "super_resolution:superres.tar"
    config.data.train, config.data.test = "T91", "Set5,Set14,BSD100"
    config.data.normalization = "unit"
    config.data.sampling = "shuffle(repeats=160)"  # an epoch: 910 batches of 16 crops
    config.model.name = "fsrcnn"
    config.epochs, config.batch_size, config.eval_batch_size = 40, 16, 4
    config.eval_every = 10
    config.optim.learning_rate = 2e-3
    config.optim.schedule = "cosine(warmup=0.02)"
    config.optim.multipliers = "deconvolve=0.1"  # as the paper: a tenth of the rate
    config.optim.ema_decay = 0.999
    return config
