"""Every key that a config has, with its default. The other configs change what they are about.

No value is None (it could not be overridden) and none is computed from another (an override
would not reach it): derived values are made when the run is built.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return all keys with their defaults."""
    config = ConfigDict()
    config.seed = 0
    config.epochs = 20
    config.batch_size = 64  # of the global batch, over all devices and micro-batches
    config.eval_batch_size = 512
    config.micro_batches = 1  # parts that a batch is worked through in, to save memory
    config.steps_per_call = 0  # training steps in one dispatch; 0: 1 on CPU, more elsewhere
    config.precision = "float32"  # float32 (full), tf32, bfloat16 (parameters stay float32)
    config.ops = "auto"  # "plain": the textbook's layers everywhere
    config.init_from = ""  # a run whose parameters to start from, where they fit

    config.task = ConfigDict({"name": "classify", "label_smoothing": 0.0})

    config.data = ConfigDict()
    config.data.source = "cifar10"  # kind:where, such as folder:PATH, npz:PATH, tfds:NAME
    config.data.dir = ""  # where prepared sets lie; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.data.image_size = 0  # 0: as they are
    config.data.holdout = 0.0  # part (below 1) or number of training examples to make val of
    config.data.normalization = "symmetric"  # unit 0..1, symmetric -1..1, standard, imagenet
    config.augment = ""  # such as "pad_crop(pad=4)|flip"

    config.model = ConfigDict({"name": "convnet"})  # each model's arguments are in its block
    config.model.convnet = ConfigDict({"width": 32, "hidden": 128})

    config.optim = ConfigDict()
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "constant"  # or "cosine(warmup=0.1)", "linear(warmup=0.2)"
    config.optim.adam = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8})
    config.optim.adamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.05})
    config.optim.sgd = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})

    config.parallel = ConfigDict()
    config.parallel.mode = "auto"  # single, pmap; auto: pmap where there are several devices
    config.parallel.cpu_devices = "auto"  # devices to make of a CPU; auto: one for each core

    config.checkpoint = ConfigDict({"every_steps": 0, "keep": 2})  # 0: every epoch
    config.log = ConfigDict({"every_steps": 50})
    return config
