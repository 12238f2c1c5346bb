"""All config keys with their defaults and, of numbers and fixed words, ranges: `COUNT(20)`.

The other configs change the keys that they need. No value is None (it could not be overridden), and
none is computed from another (it would ignore overrides): derived values are computed when the run
is built.
"""

import dataclasses

from ml_collections import ConfigDict

from imgrec_jax.config_files import defaults
from imgrec_jax.core.ranges import (
    ABOVE_ZERO_TO_ONE,
    BELOW_ONE,
    COUNT,
    COUNT_OR_ZERO,
    DEPTH,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SIDE,
    WIDTH,
    one_of,
    whole,
)

BATCH = whole(1, 2**24)
OBJECTS = whole(1, 10_000)
"""Boxes in an image."""


def get_config() -> ConfigDict:
    """Return all keys with their defaults."""
    return defaults(declare())


def declare() -> ConfigDict:
    """Return all keys with their ranges and defaults."""
    config = ConfigDict()
    config.seed = SEED(0)
    config.epochs = COUNT(20)
    config.eval_every = COUNT(1)  # epochs between evaluations; the last epoch always has one
    config.batch_size = BATCH(64)  # of the global batch, over all devices and micro-batches
    config.eval_batch_size = BATCH(512)
    config.micro_batches = BATCH(1)  # parts into which a batch is split, to save memory
    config.steps_per_call = COUNT_OR_ZERO(0)  # in one dispatch; 0: 1 on CPU, more elsewhere
    # float32 (full), tf32, bfloat16 (parameters stay float32)
    config.precision = one_of("float32", "tf32", "bfloat16")("float32")
    config.ops = one_of("auto", "plain")("auto")  # plain: textbook implementations everywhere
    config.init_from = ""  # weights to start from: a run, a .safetensors file, hf:OWNER/NAME

    config.task = ConfigDict({"name": "classify", "label_smoothing": BELOW_ONE(0.0)})
    config.task.class_weights = ""  # balanced, or one number per class: "0.5,1,2"
    config.task.segment = ConfigDict({"loss": "cross_entropy"})  # or "cross_entropy|dice(0.5)"
    config.task.detect = ConfigDict({"detections": OBJECTS(100)})
    config.task.detect.update({"nms_iou": FRACTION(0.6), "min_score": FRACTION(0.05)})

    enlarge = ConfigDict({"scale": whole(2, 8)(3), "patch": whole(4, 1024)(24)})
    enlarge.channels = one_of("y", "rgb")("y")  # y: the network enlarges luma, as before 2017
    enlarge.loss = one_of("l1", "l2", "charbonnier")("l1")
    config.task.super_resolution = enlarge  # patch: side of training crops before enlargement

    config.data = _data()

    config.augment = ""  # such as "pad_crop(pad=4)|flip"; ";" separates further views
    config.mix = ""  # such as "mixup(alpha=0.2)"; "mixup|cutmix" picks one at random
    config.evaluators = ""  # further evaluators: "neighbours(k=20, every=5)|linear_probe"
    config.tta = ""  # test-time augmentation, such as "flip|shift(2)"

    config.model = _models()

    config.optim = _optimization()

    config.parallel = ConfigDict()
    # auto: pmap on several devices
    config.parallel.mode = one_of("auto", "mesh", "pmap", "shard_map", "single")("auto")
    config.parallel.devices = ""  # all; "2": the first two of each process; "0,3": these
    config.parallel.fsdp = COUNT(1)  # devices over which parameters are sharded, in mode mesh
    config.parallel.rules = ""  # sharding: "Dense_0/kernel=0;bias=none"; "": the longest axis
    config.parallel.sync_batchnorm = True  # False: statistics per device; not in mesh
    config.parallel.multihost = "off"  # auto: SLURM, Open MPI, TPU; or HOST:PORT,ID/COUNT
    config.parallel.cpu_devices = "auto"  # number of CPU devices; auto: one per core

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = COUNT_OR_ZERO(0)  # 0: every epoch
    config.checkpoint.every_minutes = NOT_NEGATIVE(0.0)  # additionally, after a call; 0: never
    config.checkpoint.stop_unsaved = False  # True: stop if one cannot be written (full disk)
    config.checkpoint.best = ""  # selecting score on val; "-loss": the lowest; "": the task's
    config.checkpoint.keep = COUNT(2)  # the newest ones; the best by val, if any, is also kept
    config.log = ConfigDict({"every_steps": COUNT(50), "report": True})  # write report.html
    config.log.histograms_every = COUNT_OR_ZERO(0)  # steps; of weights and gradients; 0: none
    config.log.wandb = False  # also to Weights & Biases (extra wandb); WANDB_MODE=offline
    return config


def _data() -> ConfigDict:
    data = ConfigDict()
    data.source = "cifar10"  # kind:where, such as folder:PATH, parquet:PATH, tfds:NAME
    data.dir = ""  # folder of prepared data sets; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    data.image_size = SIDE(0)  # in pixels, square; 0: unchanged
    data.center_crop = ABOVE_ZERO_TO_ONE(1.0)  # side, as a fraction of the shorter side
    data.image_shape = ""  # "120x160", height x width, for images with masks or boxes
    data.max_boxes = OBJECTS(100)  # per image, in sources of boxes
    # 0: RGB (grey sets: one); 1: grey, 4: RGBA, n: as stored in a TIFF
    data.channels = whole(0, 1024)(0)
    data.dtype = one_of("uint8", "uint16")("uint8")  # uint16: of 16-bit PNG, TIFF and PPM
    data.columns = ""  # "IMAGE,LABEL" of a CSV or Parquet file; "": found by name
    data.mask_values = ""  # "0=background,255=cell,9=ignore" or "#800000=car,.."; "": auto
    data.label_pattern = ""  # regex for file names, with a group named label
    data.classes = ""  # names or patterns: "cat,dog", "Greek*"; "": all
    data.examples_per_class = COUNT_OR_ZERO(0)  # in train only, drawn by seed; 0: all
    # fraction (below 1) or number of training examples for val
    data.holdout = dataclasses.replace(NOT_NEGATIVE, high=COUNT.high)(0.0)
    data.group_by = ""  # kept together: a column, a regex with one group, near-identical
    data.crop = ""  # "random_resized_crop(low=0.08)" of training images, from their files
    # skip-and-count: damaged images are masked out and reported
    data.broken = one_of("raise", "skip-and-count")("raise")
    # decoded data kept in memory, at most; -1: 2, or a quarter of all
    data.memory_gb = dataclasses.replace(NOT_NEGATIVE, also=(-1,))(-1.0)
    # a file unpacked, at most; -1: 1, or 100 times its size
    data.file_gb = dataclasses.replace(NOT_NEGATIVE, also=(-1,))(-1.0)
    data.workers = whole(-1, 1024)(-1)  # decode larger data; -1: one per core; 0: in this process
    # unit 0..1, symmetric -1..1, standard, imagenet, or MEANS/DEVIATIONS: "0.5,0.5,0.5/0.2,0.2,0.2"
    data.normalization = "symmetric"
    data.sampling = "shuffle"  # balanced: every class equally often; episodes(ways=5, ..)
    data.train = ""  # folder of training images, in sources without classes; "": found by name
    data.test = ""  # folders of test images there, such as "Set5,Set14"; "": found by name
    data.unlabelled = ""  # a second source, for sampling=two_sources(ratio=7)
    data.eval_sampling = "in_order"  # for held-out splits; or episodes(ways=5, shots=1, ..)
    return data


def _models() -> ConfigDict:
    """Return the arguments of models, in the block of a model or its family (vit for vit_s16).

    `remat` stores less of the forward pass for the gradient and recomputes it: the same numbers
    in less memory.
    """
    model = ConfigDict({"name": "convnet"})
    model.airbench94 = ConfigDict({"remat": False})
    model.airbench96 = ConfigDict({"remat": False})
    model.convnet = ConfigDict({"width": WIDTH(32), "hidden": WIDTH(128), "remat": False})
    model.convnext = ConfigDict({"stochastic_depth": BELOW_ONE(0.0), "remat": False})
    model.efficientnet = ConfigDict({"stochastic_depth": BELOW_ONE(0.2)})
    model.efficientnet.update({"dropout": BELOW_ONE(0.2), "same": False, "remat": False})
    model.mixer = ConfigDict({"stochastic_depth": BELOW_ONE(0.0), "remat": False})
    model.mobilenet = ConfigDict({"dropout": BELOW_ONE(0.2), "same": False, "remat": False})
    model.vit = ConfigDict({"pool": one_of("token", "mean")("token"), "remat": False})
    model.vit.positions = one_of("learned", "sincos")("learned")
    model.vit.update({"stochastic_depth": BELOW_ONE(0.0), "dropout": BELOW_ONE(0.0)})
    model.vit.epsilon = ABOVE_ZERO_TO_ONE(1e-6)
    model.unet = ConfigDict({"encoder": "plain(width=32, depth=5)"})
    model.deeplab = ConfigDict({"encoder": "plain(width=32, depth=5)", "width": WIDTH(256)})
    model.detr = ConfigDict({"encoder": "resnet50", "width": WIDTH(256), "heads": WIDTH(8)})
    model.detr.update({"hidden": WIDTH(2048), "queries": OBJECTS(100), "dropout": BELOW_ONE(0.1)})
    model.detr.update({"encoder_depth": whole(0, 1000)(6), "decoder_depth": DEPTH(6)})
    model.detr.frozen_statistics = False  # True: the encoder's batch statistics stay fixed
    model.fcos = ConfigDict({"encoder": "plain(width=16, stride=2)", "width": WIDTH(64)})
    model.fcos.depth = whole(0, 1000)(2)
    model.fsrcnn = ConfigDict({"width": WIDTH(56), "shrink": WIDTH(12), "depth": DEPTH(4)})
    model.edsr = ConfigDict({"width": WIDTH(64), "depth": DEPTH(16), "residual": POSITIVE(1.0)})
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        model[name] = ConfigDict({"stem": one_of("imagenet", "cifar")("imagenet")})
        model[name].update({"width": WIDTH(64), "remat": False})
    for name, width in (("wrn16_8", 128), ("wrn28_10", 160)):
        model[name] = ConfigDict({"width": WIDTH(width), "dropout": BELOW_ONE(0.0)})
        model[name].remat = False
    return model


def _optimization() -> ConfigDict:
    """Return the keys of `config.optim`; an optimizer without a block uses optax's defaults."""
    optim = ConfigDict()
    optim.name = "adam"
    optim.learning_rate = POSITIVE(1e-3)
    optim.reference_batch = COUNT_OR_ZERO(0)  # batch that learning_rate refers to; 0: batch_size
    # scaling of the rate with batch_size
    optim.batch_scaling = one_of("linear", "sqrt", "none")("linear")
    optim.ema_decay = BELOW_ONE(0.0)  # of the evaluated moving average, such as 0.999; 0: none
    # constant, cosine, linear, one_cycle, rsqrt, step, such as "cosine(warmup=0.1)" for a tenth of
    # the run, or with warmup_epochs=5, warmup_steps=500, warmup_examples=32000
    optim.schedule = "constant"
    optim.clip_norm = NOT_NEGATIVE(0.0)  # maximum norm of the gradient; 0: no clipping
    optim.lookahead = ""  # slow weights, such as "lookahead(every=5, decay=0.5)"
    optim.sam_rho = NOT_NEGATIVE(0.0)  # radius of SAM, such as 0.05; 0: plain gradients
    # Optimizers by path instead of name: "PATTERN=OPTIMIZER(RATE, setting=...)|every(k);...", such
    # as "discriminator=adam(2e-4, b1=0.0); generator=adam(1e-4, b1=0.0)|every(2)". The first rule
    # that matches applies; its rate replaces learning_rate, and its settings those of the
    # optimizer's block. With every(k), the parameters are updated only at every k-th step
    optim.by_path = ""
    # By regular expressions that are searched for in paths such as conv1/kernel:
    optim.freeze = ""  # frozen parameters, such as "conv1|conv2"
    optim.freeze_later = ""  # frozen after so many epochs, such as "conv1=3;conv2=5"
    optim.decay = ""  # parameters with weight decay; "": all but norms and biases
    optim.multipliers = ""  # of the rate: "head=10;.*norm.*=0.1"; the first match applies
    optim.layer_decay = ABOVE_ZERO_TO_ONE(1.0)  # factor from each layer to the one before it
    optim.layers = ""  # from input to output: "stem;block([0-9]+);head"
    optim.update(_optimizers())
    return optim


def _optimizers() -> ConfigDict:
    """Return the settings of optimizers; one of the same name means the same in all of them."""
    optim = ConfigDict()
    decay, eps, momentum = NOT_NEGATIVE, ABOVE_ZERO_TO_ONE, BELOW_ONE(0.9)
    betas = {"b1": BELOW_ONE(0.9), "b2": BELOW_ONE(0.999)}
    optim.adabelief = ConfigDict({**betas, "eps": eps(1e-16)})
    optim.adafactor = ConfigDict({"min_dim_size_to_factor": COUNT(128)})
    optim.adafactor.decay_rate = ABOVE_ZERO_TO_ONE(0.8)
    optim.adafactor.multiply_by_parameter_scale = True
    optim.adafactor.clipping_threshold = NOT_NEGATIVE(1.0)
    optim.adafactor.update({"momentum": BELOW_ONE(0.0), "weight_decay": decay(0.0)})
    optim.adagrad = ConfigDict({"initial_accumulator_value": NOT_NEGATIVE(0.1), "eps": eps(1e-7)})
    optim.adam = ConfigDict({**betas, "eps": eps(1e-8)})
    optim.adamw = ConfigDict({**betas, "eps": eps(1e-8), "weight_decay": decay(0.05)})
    optim.adan = ConfigDict({"b1": BELOW_ONE(0.98), "b2": BELOW_ONE(0.92), "b3": BELOW_ONE(0.99)})
    optim.adan.weight_decay = decay(0.02)
    optim.lamb = ConfigDict({**betas, "eps": eps(1e-6), "weight_decay": decay(0.02)})
    optim.lars = ConfigDict({"momentum": momentum, "nesterov": False})
    optim.lars.update({"weight_decay": decay(1e-4), "trust_coefficient": POSITIVE(0.001)})
    optim.lion = ConfigDict({"b1": BELOW_ONE(0.9), "b2": BELOW_ONE(0.99)})
    optim.lion.weight_decay = decay(0.5)
    optim.muon = ConfigDict({"beta": BELOW_ONE(0.95), "ns_steps": DEPTH(5), "nesterov": True})
    optim.muon.consistent_rms = NOT_NEGATIVE(0.2)  # to Adam's RMS; 0: scaled by sqrt(out / in)
    optim.muon.adam_b1 = BELOW_ONE(0.9)  # for parameters that are not kernels
    optim.muon.update({"adam_b2": BELOW_ONE(0.999), "weight_decay": decay(0.05)})
    optim.nadamw = ConfigDict({**betas, "eps": eps(1e-8), "weight_decay": decay(0.05)})
    optim.radam = ConfigDict({**betas, "eps": eps(1e-8)})
    optim.rmsprop = ConfigDict({"decay": BELOW_ONE(0.9), "eps": eps(1e-8)})
    optim.rmsprop.update({"momentum": BELOW_ONE(0.0), "centered": False})
    optim.sgd = ConfigDict({"momentum": momentum, "nesterov": True, "weight_decay": decay(5e-4)})
    optim.signum = ConfigDict({"beta": BELOW_ONE(0.9)})
    optim.sm3 = ConfigDict({"momentum": momentum})
    optim.yogi = ConfigDict({**betas, "eps": eps(1e-3)})
    return optim
