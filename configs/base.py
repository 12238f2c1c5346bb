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
    config.task.class_weights = ""  # balanced, or one number per class: "0.5,1,2"

    config.data = ConfigDict()
    config.data.source = "cifar10"  # kind:where, such as folder:PATH, parquet:PATH, tfds:NAME
    config.data.dir = ""  # where prepared sets lie; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.data.image_size = 0  # 0: as they are
    config.data.channels = 0  # 0: RGB (grey sets: one); 1: grey, 4: RGBA, n: as stored in a TIFF
    config.data.dtype = "uint8"  # uint16 keeps the depth of 16-bit PNG, TIFF and PPM
    config.data.columns = ""  # "IMAGE,LABEL" of a CSV or Parquet file; "": told by their names
    config.data.label_pattern = ""  # regex with a group: label, for the names of files
    config.data.holdout = 0.0  # part (below 1) or number of training examples to make val of
    config.data.group_by = ""  # what stays together then: a column, or a regex with one group
    config.data.normalization = "symmetric"  # unit 0..1, symmetric -1..1, standard, imagenet
    config.data.sampling = "shuffle"  # balanced: every class equally often
    config.augment = ""  # such as "pad_crop(pad=4)|flip"
    config.mixing = ""  # such as "mixup(alpha=0.2)"; one of several at random: "mixup|cutmix"
    config.eval_views = ""  # what predictions are averaged over, such as "flip|shift(2)"

    config.model = _models()

    config.optim = ConfigDict()
    config.optim.name = "adam"
    config.optim.learning_rate = 1e-3
    config.optim.reference_batch = 0  # the batch that learning_rate is for; 0: batch_size
    config.optim.batch_scaling = "linear"  # of the rate to batch_size: linear, sqrt, none
    config.optim.ema_decay = 0.0  # of the moving average that is scored, such as 0.999; 0: none
    config.optim.schedule = "constant"  # or "cosine(warmup=0.1)", "linear(warmup=0.2)"
    config.optim.adam = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8})
    config.optim.adamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.05})
    config.optim.sgd = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})

    config.parallel = ConfigDict()
    config.parallel.mode = "auto"  # single, pmap, mesh; auto: pmap where there are several devices
    config.parallel.devices = ""  # all; "2": the first two of each process; "0,3": these
    config.parallel.fsdp = 1  # devices that share the parameters out, in mode mesh
    config.parallel.rules = ""  # how: "Dense_0/kernel=0;bias=none"; "": the longest axis
    config.parallel.sync_batchnorm = True  # in pmap, False: statistics of each device alone
    config.parallel.multihost = "off"  # auto: SLURM, Open MPI, TPU; or HOST:PORT,ID/COUNT
    config.parallel.cpu_devices = "auto"  # devices to make of a CPU; auto: one for each core

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 0  # 0: every epoch
    config.checkpoint.every_minutes = 0.0  # as well, at the end of a call; 0: not by the clock
    config.checkpoint.keep = 2  # newest ones; the best by val, if there is one, is kept as well
    config.log = ConfigDict({"every_steps": 50})
    return config


def _models() -> ConfigDict:
    """Return the arguments of models, in the block of a model or of its family (vit of vit_s16)."""
    model = ConfigDict({"name": "convnet"})
    model.convnet = ConfigDict({"width": 32, "hidden": 128})
    model.convnext = ConfigDict({"stochastic_depth": 0.0, "remat": False})
    model.efficientnet = ConfigDict({"stochastic_depth": 0.2, "dropout": 0.2, "same": False})
    model.mixer = ConfigDict({"stochastic_depth": 0.0, "remat": False})
    model.mobilenet = ConfigDict({"dropout": 0.2, "same": False})
    model.vit = ConfigDict({"pool": "token", "positions": "learned", "remat": False})
    model.vit.update({"stochastic_depth": 0.0, "dropout": 0.0, "epsilon": 1e-6})
    return model
