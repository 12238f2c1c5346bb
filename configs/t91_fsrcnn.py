"""Super-resolution x3 on Set5 with FSRCNN, from the 91 images of Yang et al. (2010).

The data is one archive or folder with the folders T91, Set5, Set14 and BSD100:

    python -m imgrec_jax.main --config=configs/t91_fsrcnn.py \
        --config.data.source=super_resolution:superres.tar

Measured (two CPU cores beside other work, jax 0.12, seed 0, n = 1; 36,400 steps, 2,248 s):

    PSNR in dB                  Set5    Set14   BSD100
    this config                 32.42   29.01   28.21
    bicubic                     30.39   27.53   27.20
    published, same images      33.06           (FSRCNN; SRCNN 32.39, ESPCN 32.55 and 29.14)

The distance to the published figure is open.
"""

from imgrec_jax import start_from


def get_config():
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
