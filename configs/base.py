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
    config.eval_every = 1  # epochs between scores of held-out splits; the last always has them
    config.batch_size = 64  # of the global batch, over all devices and micro-batches
    config.eval_batch_size = 512
    config.micro_batches = 1  # parts that a batch is worked through in, to save memory
    config.steps_per_call = 0  # training steps in one dispatch; 0: 1 on CPU, more elsewhere
    config.precision = "float32"  # float32 (full), tf32, bfloat16 (parameters stay float32)
    config.ops = "auto"  # "plain": the textbook's layers everywhere
    config.init_from = ""  # weights to start from: a run, a .safetensors file, hf:OWNER/NAME

    config.task = ConfigDict({"name": "classify", "label_smoothing": 0.0})
    config.task.class_weights = ""  # balanced, or one number per class: "0.5,1,2"
    config.task.segment = ConfigDict({"loss": "cross_entropy"})  # or "cross_entropy|dice(0.5)"
    config.task.detect = ConfigDict({"detections": 100, "nms_iou": 0.6, "min_score": 0.05})

    config.data = ConfigDict()
    config.data.source = "cifar10"  # kind:where, such as folder:PATH, parquet:PATH, tfds:NAME
    config.data.dir = ""  # where prepared sets lie; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    config.data.image_size = 0  # 0: as they are
    config.data.center_crop = 1.0  # of that square: the part of the shorter side that it has
    config.data.image_shape = ""  # "120x160", height x width, of images with masks or boxes
    config.data.max_boxes = 100  # of an image, in sources of boxes
    config.data.channels = 0  # 0: RGB (grey sets: one); 1: grey, 4: RGBA, n: as stored in a TIFF
    config.data.dtype = "uint8"  # uint16 keeps the depth of 16-bit PNG, TIFF and PPM
    config.data.columns = ""  # "IMAGE,LABEL" of a CSV or Parquet file; "": told by their names
    config.data.mask_values = ""  # "0=background,255=cell,9=ignore" or "#800000=car,.."; "": told
    config.data.label_pattern = ""  # regex with a group: label, for the names of files
    config.data.classes = ""  # names or patterns of some: "cat,dog", "Greek*"; "": all
    config.data.examples_per_class = 0  # so many of train alone, drawn by seed; 0: all
    config.data.holdout = 0.0  # part (below 1) or number of training examples to make val of
    config.data.group_by = ""  # what stays together then: a column, or a regex with one group
    config.data.crop = ""  # "random_resized_crop(low=0.08)" of training images, from their files
    config.data.broken = "raise"  # or skip-and-count: damaged images are masked out, and told
    config.data.memory_gb = -1.0  # decoded sets up to it stay in memory; -1: 2, or a quarter of all
    config.data.workers = -1  # processes that decode larger ones; -1: one for each core; 0: this
    # unit 0..1, symmetric -1..1, standard, imagenet, or MEANS/DEVIATIONS: "0.5,0.5,0.5/0.2,0.2,0.2"
    config.data.normalization = "symmetric"
    config.data.sampling = "shuffle"  # balanced: every class equally often; episodes(ways=5, ..)
    config.data.eval_sampling = "in_order"  # of held-out splits; or episodes(ways=5, shots=1, ..)
    config.augment = ""  # such as "pad_crop(pad=4)|flip"; after a ";" that of a further view
    config.mix = ""  # such as "mixup(alpha=0.2)"; one of several at random: "mixup|cutmix"
    config.evaluators = ""  # beside the scores: "neighbours(k=20, every=5)|linear_probe"
    config.tta = ""  # what predictions are averaged over, such as "flip|shift(2)"

    config.model = _models()

    config.optim = optimization()

    config.parallel = ConfigDict()
    config.parallel.mode = "auto"  # single, pmap, shard_map, mesh; auto: pmap on several devices
    config.parallel.devices = ""  # all; "2": the first two of each process; "0,3": these
    config.parallel.fsdp = 1  # devices that share the parameters out, in mode mesh
    config.parallel.rules = ""  # how: "Dense_0/kernel=0;bias=none"; "": the longest axis
    config.parallel.sync_batchnorm = True  # False: statistics of each device alone; not in mesh
    config.parallel.multihost = "off"  # auto: SLURM, Open MPI, TPU; or HOST:PORT,ID/COUNT
    config.parallel.cpu_devices = "auto"  # devices to make of a CPU; auto: one for each core

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 0  # 0: every epoch
    config.checkpoint.every_minutes = 0.0  # as well, at the end of a call; 0: not by the clock
    config.checkpoint.stop_unsaved = False  # True: end where one cannot be written (full disk)
    config.checkpoint.best = ""  # score on val that selects; "-loss": the lowest; "": the task's
    config.checkpoint.keep = 2  # newest ones; the best by val, if there is one, is kept as well
    config.log = ConfigDict({"every_steps": 50, "report": True})  # report: write report.html
    config.log.histograms_every = 0  # steps; of weights and gradients, in TensorBoard; 0: none
    config.log.wandb = False  # to Weights & Biases as well (extra wandb); WANDB_MODE=offline
    return config


def _models() -> ConfigDict:
    """Return the arguments of models, in the block of a model or of its family (vit of vit_s16).

    `remat` keeps less of the forward pass for the gradient and computes it again: the same numbers
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
    model.detr.frozen_statistics = False  # True: the encoder's batch statistics stay as they came
    model.fcos = ConfigDict({"encoder": "plain(width=16, stride=2)", "width": 64, "depth": 2})
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):  # stem: or "cifar"
        model[name] = ConfigDict({"stem": "imagenet", "width": 64, "remat": False})
    model.wrn16_8 = ConfigDict({"width": 128, "dropout": 0.0, "remat": False})
    model.wrn28_10 = ConfigDict({"width": 160, "dropout": 0.0, "remat": False})
    return model


def optimization() -> ConfigDict:
    """Return the keys of `config.optim`; an optimizer without a block has optax's own settings."""
    optim = ConfigDict()
    optim.name = "adam"
    optim.learning_rate = 1e-3
    optim.reference_batch = 0  # the batch that learning_rate is for; 0: batch_size
    optim.batch_scaling = "linear"  # of the rate to batch_size: linear, sqrt, none
    optim.ema_decay = 0.0  # of the moving average that is scored, such as 0.999; 0: none
    # constant, cosine, linear, one_cycle, rsqrt, step, such as "cosine(warmup=0.1)" for a tenth of
    # the run, or with warmup_epochs=5, warmup_steps=500, warmup_examples=32000
    optim.schedule = "constant"
    optim.clip_norm = 0.0  # greatest norm of the gradient; 0: any
    optim.lookahead = ""  # slow weights, such as "lookahead(every=5, decay=0.5)"
    optim.sam_rho = 0.0  # how far SAM climbs, such as 0.05; 0: plain gradients
    # Optimizers by path in place of name: "PATTERN=OPTIMIZER(RATE, setting=...)|every(k);...", such
    # as "discriminator=adam(2e-4, b1=0.0); generator=adam(1e-4, b1=0.0)|every(2)". The first rule
    # that matches counts, the rate takes the place of learning_rate, the settings those of the
    # optimizer's block, and the parameters of a rule with every(k) move at every k-th step alone
    optim.by_path = ""
    # By path, in regular expressions that are searched for in paths such as conv1/kernel:
    optim.freeze = ""  # what does not move, such as "conv1|conv2"
    optim.freeze_later = ""  # what moves for its first epochs alone, such as "conv1=3;conv2=5"
    optim.decay = ""  # what weight decay is on; "": all but norms and biases
    optim.multipliers = ""  # of the rate, such as "head=10;.*norm.*=0.1"; the first counts
    optim.layer_decay = 1.0  # of the rate, from each of the layers to the one before it
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
    optim.muon.consistent_rms = 0.2  # updates as large as Adam's; 0: by sqrt(out / in)
    optim.muon.adam_b1 = 0.9  # of what is no kernel
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
