"""All config keys with their defaults. The other configs change the keys that they need.

No value is None (it could not be overridden), and none is computed from another (it would ignore
overrides): derived values are computed when the run is built.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return all keys with their defaults."""
    config = ConfigDict()
    config.seed = 0
    config.epochs = 20
    config.eval_every = 1  # epochs between evaluations; the last epoch always has one
    config.batch_size = 64  # of the global batch, over all devices and micro-batches
    config.eval_batch_size = 512
    config.micro_batches = 1  # parts into which a batch is split, to save memory
    config.steps_per_call = 0  # training steps in one dispatch; 0: 1 on CPU, more elsewhere
    config.precision = "float32"  # float32 (full), tf32, bfloat16 (parameters stay float32)
    config.ops = "auto"  # "plain": textbook implementations everywhere
    config.init_from = ""  # weights to start from: a run, a .safetensors file, hf:OWNER/NAME

    config.task = ConfigDict({"name": "classify", "label_smoothing": 0.0})
    config.task.class_weights = ""  # balanced, or one number per class: "0.5,1,2"
    config.task.segment = ConfigDict({"loss": "cross_entropy"})  # or "cross_entropy|dice(0.5)"
    config.task.detect = ConfigDict({"detections": 100, "nms_iou": 0.6, "min_score": 0.05})

    config.data = ConfigDict()
    config.data.source = "cifar10"  # kind:where, such as folder:PATH, parquet:PATH, tfds:NAME
    config.data.dir = ""  # folder of prepared data sets; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.data.image_size = 0  # in pixels, square; 0: unchanged
    config.data.center_crop = 1.0  # side of the center crop, as a fraction of the shorter side
    config.data.image_shape = ""  # "120x160", height x width, for images with masks or boxes
    config.data.max_boxes = 100  # per image, in sources of boxes
    config.data.channels = 0  # 0: RGB (grey sets: one); 1: grey, 4: RGBA, n: as stored in a TIFF
    config.data.dtype = "uint8"  # uint16 keeps the depth of 16-bit PNG, TIFF and PPM
    config.data.columns = ""  # "IMAGE,LABEL" of a CSV or Parquet file; "": found by name
    config.data.mask_values = ""  # "0=background,255=cell,9=ignore" or "#800000=car,.."; "": auto
    config.data.label_pattern = ""  # regex for file names, with a group named label
    config.data.classes = ""  # names or patterns: "cat,dog", "Greek*"; "": all
    config.data.examples_per_class = 0  # in train only, drawn by seed; 0: all
    config.data.holdout = 0.0  # fraction (below 1) or number of training examples for val
    config.data.group_by = ""  # kept together in the split: a column, or a regex with one group
    config.data.crop = ""  # "random_resized_crop(low=0.08)" of training images, from their files
    config.data.broken = "raise"  # or skip-and-count: damaged images are masked out and reported
    config.data.memory_gb = -1.0  # decoded data kept in memory, at most; -1: 2, or a quarter of all
    config.data.workers = -1  # processes that decode larger data; -1: one per core; 0: in this one
    # unit 0..1, symmetric -1..1, standard, imagenet, or MEANS/DEVIATIONS: "0.5,0.5,0.5/0.2,0.2,0.2"
    config.data.normalization = "symmetric"
    config.data.sampling = "shuffle"  # balanced: every class equally often; episodes(ways=5, ..)
    config.data.unlabelled = ""  # a second source, for sampling=two_sources(ratio=7)
    config.data.eval_sampling = "in_order"  # for held-out splits; or episodes(ways=5, shots=1, ..)
    config.augment = ""  # such as "pad_crop(pad=4)|flip"; ";" separates further views
    config.mix = ""  # such as "mixup(alpha=0.2)"; "mixup|cutmix" picks one at random
    config.evaluators = ""  # further evaluators: "neighbours(k=20, every=5)|linear_probe"
    config.tta = ""  # test-time augmentation, such as "flip|shift(2)"

    config.model = _models()

    config.optim = optimization()

    config.parallel = ConfigDict()
    config.parallel.mode = "auto"  # single, pmap, shard_map, mesh; auto: pmap on several devices
    config.parallel.devices = ""  # all; "2": the first two of each process; "0,3": these
    config.parallel.fsdp = 1  # devices over which parameters are sharded, in mode mesh
    config.parallel.rules = ""  # sharding: "Dense_0/kernel=0;bias=none"; "": the longest axis
    config.parallel.sync_batchnorm = True  # False: statistics per device; not in mesh
    config.parallel.multihost = "off"  # auto: SLURM, Open MPI, TPU; or HOST:PORT,ID/COUNT
    config.parallel.cpu_devices = "auto"  # number of CPU devices; auto: one per core

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 0  # 0: every epoch
    config.checkpoint.every_minutes = 0.0  # additionally, at the end of a call; 0: never
    config.checkpoint.stop_unsaved = False  # True: stop if one cannot be written (full disk)
    config.checkpoint.best = ""  # selecting score on val; "-loss": the lowest; "": the task's
    config.checkpoint.keep = 2  # number of newest ones; the best by val, if any, is also kept
    config.log = ConfigDict({"every_steps": 50, "report": True})  # report: write report.html
    config.log.histograms_every = 0  # steps; weights and gradients, in TensorBoard; 0: none
    config.log.wandb = False  # also log to Weights & Biases (extra wandb); WANDB_MODE=offline
    return config


def _models() -> ConfigDict:
    """Return the arguments of models, in the block of a model or its family (vit for vit_s16).

    `remat` stores less of the forward pass for the gradient and recomputes it: the same numbers
    in less memory.
    """
    model = ConfigDict({"name": "convnet"})
    model.airbench94 = ConfigDict({"remat": False})
    model.airbench96 = ConfigDict({"remat": False})
    model.convnet = ConfigDict({"width": 32, "hidden": 128, "remat": False})
    model.convnext = ConfigDict({"stochastic_depth": 0.0, "remat": False})
    model.efficientnet = ConfigDict({"stochastic_depth": 0.2, "dropout": 0.2, "same": False})
    model.efficientnet.remat = False
    model.mixer = ConfigDict({"stochastic_depth": 0.0, "remat": False})
    model.mobilenet = ConfigDict({"dropout": 0.2, "same": False, "remat": False})
    model.vit = ConfigDict({"pool": "token", "positions": "learned", "remat": False})
    model.vit.update({"stochastic_depth": 0.0, "dropout": 0.0, "epsilon": 1e-6})
    model.unet = ConfigDict({"encoder": "plain(width=32, depth=5)"})
    model.deeplab = ConfigDict({"encoder": "plain(width=32, depth=5)", "width": 256})
    model.detr = ConfigDict({"encoder": "resnet50", "width": 256, "heads": 8, "hidden": 2048})
    model.detr.update({"encoder_depth": 6, "decoder_depth": 6, "queries": 100, "dropout": 0.1})
    model.detr.frozen_statistics = False  # True: the encoder's batch statistics stay fixed
    model.fcos = ConfigDict({"encoder": "plain(width=16, stride=2)", "width": 64, "depth": 2})
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):  # stem: or "cifar"
        model[name] = ConfigDict({"stem": "imagenet", "width": 64, "remat": False})
    model.wrn16_8 = ConfigDict({"width": 128, "dropout": 0.0, "remat": False})
    model.wrn28_10 = ConfigDict({"width": 160, "dropout": 0.0, "remat": False})
    return model


def optimization() -> ConfigDict:
    """Return the keys of `config.optim`; an optimizer without a block uses optax's defaults."""
    optim = ConfigDict()
    optim.name = "adam"
    optim.learning_rate = 1e-3
    optim.reference_batch = 0  # batch size that learning_rate refers to; 0: batch_size
    optim.batch_scaling = "linear"  # scaling of the rate with batch_size: linear, sqrt, none
    optim.ema_decay = 0.0  # of the evaluated moving average, such as 0.999; 0: none
    # constant, cosine, linear, one_cycle, rsqrt, step, such as "cosine(warmup=0.1)" for a tenth of
    # the run, or with warmup_epochs=5, warmup_steps=500, warmup_examples=32000
    optim.schedule = "constant"
    optim.clip_norm = 0.0  # maximum norm of the gradient; 0: no clipping
    optim.lookahead = ""  # slow weights, such as "lookahead(every=5, decay=0.5)"
    optim.sam_rho = 0.0  # radius of SAM, such as 0.05; 0: plain gradients
    # Optimizers by path instead of name: "PATTERN=OPTIMIZER(RATE, setting=...)|every(k);...", such
    # as "discriminator=adam(2e-4, b1=0.0); generator=adam(1e-4, b1=0.0)|every(2)". The first rule
    # that matches applies; its rate replaces learning_rate, and its settings those of the
    # optimizer's block. With every(k), the parameters are updated only at every k-th step
    optim.by_path = ""
    # By regular expressions that are searched for in paths such as conv1/kernel:
    optim.freeze = ""  # frozen parameters, such as "conv1|conv2"
    optim.freeze_later = ""  # frozen after so many epochs, such as "conv1=3;conv2=5"
    optim.decay = ""  # parameters with weight decay; "": all but norms and biases
    optim.multipliers = ""  # of the rate, such as "head=10;.*norm.*=0.1"; the first match applies
    optim.layer_decay = 1.0  # factor of the rate from each layer to the one before it
    optim.layers = ""  # from input to output: "stem;block([0-9]+);head"

    optim.adabelief = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-16})
    optim.adafactor = ConfigDict({"min_dim_size_to_factor": 128, "decay_rate": 0.8})
    optim.adafactor.multiply_by_parameter_scale = True
    optim.adafactor.clipping_threshold = 1.0
    optim.adafactor.momentum = 0.0
    optim.adafactor.weight_decay = 0.0
    optim.adagrad = ConfigDict({"initial_accumulator_value": 0.1, "eps": 1e-7})
    optim.adam = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8})
    optim.adamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.05})
    optim.adan = ConfigDict({"b1": 0.98, "b2": 0.92, "b3": 0.99, "weight_decay": 0.02})
    optim.lamb = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-6, "weight_decay": 0.02})
    optim.lars = ConfigDict({"momentum": 0.9, "nesterov": False, "weight_decay": 1e-4})
    optim.lars.trust_coefficient = 0.001
    optim.lion = ConfigDict({"b1": 0.9, "b2": 0.99, "weight_decay": 0.5})
    optim.muon = ConfigDict({"beta": 0.95, "ns_steps": 5, "nesterov": True})
    optim.muon.consistent_rms = 0.2  # scale updates to Adam's RMS; 0: by sqrt(out / in)
    optim.muon.adam_b1 = 0.9  # for parameters that are not kernels
    optim.muon.adam_b2 = 0.999
    optim.muon.weight_decay = 0.05
    optim.nadamw = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.05})
    optim.radam = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-8})
    optim.rmsprop = ConfigDict({"decay": 0.9, "eps": 1e-8, "momentum": 0.0})
    optim.rmsprop.centered = False
    optim.sgd = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})
    optim.signum = ConfigDict({"beta": 0.9})
    optim.sm3 = ConfigDict({"momentum": 0.9})
    optim.yogi = ConfigDict({"b1": 0.9, "b2": 0.999, "eps": 1e-3})
    return optim
