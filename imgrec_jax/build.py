"""From a config to the objects of a run: the one module that may see everything."""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imgrec_jax.augment import color, geometry
from imgrec_jax.augment.compose import compose
from imgrec_jax.core import rng, state
from imgrec_jax.core.errors import UsageError, did_you_mean, unknown
from imgrec_jax.core.pipeline import Call, bind_call, parse_pipeline
from imgrec_jax.core.task import Batch, Task
from imgrec_jax.data.batches import EvalBatches, TrainBatches
from imgrec_jax.data.cifar import open_cifar10, open_cifar100
from imgrec_jax.data.cifar10 import find_cifar10
from imgrec_jax.data.digits import open_digits
from imgrec_jax.data.folder import open_folder
from imgrec_jax.data.mnist import open_mnist
from imgrec_jax.data.npz import open_npz
from imgrec_jax.data.source import ArraySource, Source, Splits, channel_statistics, fingerprint
from imgrec_jax.data.split import hold_out
from imgrec_jax.data.tfds import open_tfds
from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.ops import convolution, pooling
from imgrec_jax.optim import optimizers, schedules
from imgrec_jax.tasks.classify import classify
from imgrec_jax.tasks.inputs import transform_inputs
from imgrec_jax.training import parallel
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.warm_start import warm_start

_LOGGER = logging.getLogger(__name__)
Config = Any
"""A locked ConfigDict; what it holds is known at run time only."""

SOURCES: Mapping[str, Callable[[str, Config], Splits]] = {
    "cifar10": lambda where, data: open_cifar10(where) if where else find_cifar10(data.dir),
    "cifar100": lambda where, data: open_cifar100(where),
    "digits": lambda where, data: open_digits(),
    "folder": lambda where, data: open_folder(where, image_size=data.image_size),
    "mnist": lambda where, data: open_mnist(where),
    "npz": lambda where, data: open_npz(where, image_size=data.image_size),
    "tfds": lambda where, data: open_tfds(where, data.dir, data.image_size),
}
RESIZING_SOURCES = frozenset({"folder", "npz", "tfds"})
"""Sources that bring pictures to `data.image_size`."""
MODELS: Mapping[str, Callable[..., nn.Module]] = {"convnet": ConvNet}
TASKS: Mapping[str, Callable[..., Task]] = {"classify": classify}
OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optimizers.adam,
    "adamw": optimizers.adamw,
    "sgd": optimizers.sgd,
}
SCHEDULES: Mapping[str, Callable[..., schedules.Schedule]] = {
    "constant": schedules.constant,
    "cosine": schedules.cosine,
    "linear": schedules.linear,
}
AUGMENTATIONS: Mapping[str, Callable[..., geometry.Augmentation]] = {
    "flip": geometry.flip,
    "noise": color.noise,
    "pad_crop": geometry.pad_crop,
    "scale": geometry.scale,
}
NORMALIZATIONS: Mapping[str, tuple[list[float], list[float]]] = {
    "unit": ([0.0], [1.0]),
    "symmetric": ([0.5], [0.5]),
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}
MATMUL_PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def build_experiment(config: Config) -> Experiment:
    """Return everything that a training run is made of.

    Raises:
        UserError: data cannot be read, or the config asks for what does not exist.
    """
    devices = parallel.choose(config.parallel.mode, jax.local_devices())
    parallel.check_batch_size("batch_size", config.batch_size, devices, config.micro_batches)
    augment = build_augmentation(config.augment)
    splits = open_source(config)
    train = _training_split(config, splits)
    about = describe(config, train)
    task = build_task(config, about, devices, augment)

    resident = _resident(train, devices.devices[0])
    # Sending many batches at once would only take memory: what is sent goes step by step.
    automatic = min(100, -(-len(train) // config.batch_size)) if resident else 1
    steps_per_call = config.steps_per_call or automatic
    batches = TrainBatches(train, config.batch_size, config.seed, frozenset(resident))
    schedule = build_schedule(config, config.epochs * batches.steps_per_epoch)
    optimizer = build_optimizer(config, schedule)
    return Experiment(
        task=task,
        optimizer=optimizer,
        parallel=devices,
        schedule=schedule,
        init=jax.jit(functools.partial(initial_state, config.seed, task, optimizer, about)),
        warm_start=functools.partial(warm_start, config.init_from),
        root_key=jax.random.key(config.seed),
        train=batches,
        evaluations={
            name: functools.partial(one_pass, source, config.eval_batch_size, devices)
            for name, source in splits.items()
            if name != "train"
        },
        epochs=config.epochs,
        steps_per_call=steps_per_call,
        micro_batches=config.micro_batches,
        resident=resident,
        log_every=config.log.every_steps,
        save_every=config.checkpoint.every_steps,
        keep=config.checkpoint.keep,
        about=about,
        card=_card(config, splits),
        fingerprint=functools.cache(functools.partial(fingerprint, splits)),
        matmul_precision=MATMUL_PRECISIONS[config.precision],
    )


def open_source(config: Config) -> Splits:
    """Return the splits that `data.source` names, with val held out where that is asked for."""
    kind, _, where = config.data.source.partition(":")
    if kind not in SOURCES:
        raise unknown("kind of data.source", kind, SOURCES)
    splits = dict(SOURCES[kind](where, config.data))
    size = config.data.image_size
    if size and any(split.image_shape[:2] != (size, size) for split in splits.values()):
        raise UsageError(
            f"expected data.image_size=0 for {kind}, which comes in one size, got {size}; "
            f"try {' or '.join(sorted(RESIZING_SOURCES))} for pictures of any size"
        )
    if config.data.holdout and "train" in splits:
        if "val" in splits:
            raise UsageError(
                f"expected data.holdout=0 for {config.data.source}, which has a val split of its "
                f"own, got {config.data.holdout}; try --config.data.holdout=0"
            )
        splits["train"], splits["val"] = hold_out(splits["train"], config.data.holdout, config.seed)
    return splits


def _training_split(config: Config, splits: Splits) -> Source:
    if "train" not in splits:
        raise UsageError(
            f"expected a train split in {config.data.source}, got {', '.join(sorted(splits))}; "
            "try a source with class folders, or with train/ above them"
        )
    if len(splits["train"].label_names) < 2:
        raise UsageError(
            f"expected two or more classes in {config.data.source}, got "
            f"{splits['train'].label_names}; try a source with more"
        )
    return splits["train"]


def describe(config: Config, train: Source) -> dict[str, Any]:
    """Return what a checkpoint says of itself: all that scoring needs, apart from pictures."""
    name = config.data.normalization
    if name != "standard" and name not in NORMALIZATIONS:
        raise unknown("data.normalization", name, [*NORMALIZATIONS, "standard"])
    mean, std = channel_statistics(train) if name == "standard" else NORMALIZATIONS[name]
    channels = train.image_shape[-1]
    if len(mean) not in {1, channels}:
        raise UsageError(
            f"expected data.normalization for {channels} channels, got '{name}' for {len(mean)}; "
            "try --config.data.normalization=standard"
        )
    return {
        "config": config.to_dict(),
        "label_names": list(train.label_names),
        "image_shape": list(train.image_shape),
        "mean": mean,
        "std": std,
    }


def build_task(
    config: Config,
    about: Mapping[str, Any],
    devices: parallel.Parallel,
    augment: geometry.Augmentation,
) -> Task:
    """Return the task over uint8 pictures: scaled, augmented in training, normalised."""
    settings = dict(config.task)
    name = settings.pop("name")
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    num_classes = len(about["label_names"])
    module = build_model(config, num_classes, devices)
    task = bind_call("task", Call(name, (module,), {"num_classes": num_classes, **settings}), TASKS)
    mean, std = (np.asarray(about[k], np.float32).reshape(1, 1, 1, -1) for k in ("mean", "std"))

    def scoring(batch: Batch) -> Batch:
        return {**batch, "image": (_unit(batch["image"]) - mean) / std}

    def training(batch: Batch) -> Batch:
        return {**batch, "image": (augment(batch["keys"], _unit(batch["image"])) - mean) / std}

    return transform_inputs(task, training=training, scoring=scoring)


def build_model(config: Config, num_classes: int, devices: parallel.Parallel) -> nn.Module:
    """Return the network; on CPU with the forms of `ops` that are faster there."""
    name = config.model.name
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    # Only the chosen model's block is read; a model without one takes its own defaults.
    settings = dict(config.model[name]) if name in config.model else {}
    fields = set(MODELS[name].__dataclass_fields__) - {"parent", "name"}  # pyright: ignore
    for key in settings:
        if key not in fields:
            hint = did_you_mean(key, fields) or f"; known: {', '.join(sorted(fields))}"
            raise UsageError(f"model '{name}' takes no '{key}'{hint}")
    settings["dtype"] = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    if config.ops == "auto" and devices.devices[0].platform == "cpu":
        settings["conv"] = functools.partial(
            nn.Conv, conv_general_dilated=convolution.conv_general_dilated
        )
        settings["max_pool"] = pooling.max_pool
    if "axis_name" in fields:
        settings["axis_name"] = devices.axis_name
    return MODELS[name](num_classes=num_classes, **settings)


def build_augmentation(text: str) -> geometry.Augmentation:
    """Return the pipeline that `augment` spells."""
    calls = parse_pipeline(text)
    return compose([bind_call("augmentation", call, AUGMENTATIONS) for call in calls])


def build_schedule(config: Config, total_steps: int) -> schedules.Schedule:
    """Return the learning rate by step, as `optim.schedule` spells it."""
    calls = parse_pipeline(config.optim.schedule)
    if len(calls) != 1:
        raise UsageError(
            f"expected one schedule, got '{config.optim.schedule}'; try 'cosine(warmup=0.1)'"
        )
    call = calls[0]._replace(args=(config.optim.learning_rate, total_steps, *calls[0].args))
    return bind_call("schedule", call, SCHEDULES)


def build_optimizer(config: Config, schedule: schedules.Schedule) -> optax.GradientTransformation:
    """Return the optimizer with the settings of its own block; other blocks are not read."""
    name = config.optim.name
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    return bind_call("optimizer", Call(name, (schedule,), dict(config.optim[name])), OPTIMIZERS)


def initial_state(
    seed: int,
    task: Task,
    optimizer: optax.GradientTransformation,
    about: Mapping[str, Any],
) -> state.TrainState:
    """Return the state before the first step; its shapes do not depend on the data's pixels."""
    blank = {
        "image": np.zeros((1, *about["image_shape"]), np.uint8),
        "label": np.zeros(1, np.int32),
        "mask": np.ones(1, bool),
    }
    params, model_state = task.init(rng.init_key(jax.random.key(seed)), blank)
    return state.create(params, model_state, optimizer.init(params))


def one_pass(
    source: Source, batch_size: int, devices: parallel.Parallel
) -> Iterator[dict[str, np.ndarray]]:
    """Return the batches of one pass over a source.

    No score depends on the size of evaluation batches: the next one that divides is taken.
    """
    parts = len(devices.devices)
    batches = EvalBatches(source, -(-min(batch_size, len(source)) // parts) * parts)
    return map(batches, range(len(batches)))


def _unit(image: jax.Array) -> jax.Array:
    return jnp.asarray(image, jnp.float32) / 255.0


def _resident(train: Source, device: jax.Device) -> dict[str, np.ndarray]:
    """Return the arrays that may stay on an accelerator: those that take a quarter of it at most.

    On CPU there is nothing to save: host and device memory are the same.
    """
    if device.platform == "cpu" or not isinstance(train, ArraySource):
        return {}
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    if train.images.nbytes > memory // 4:
        return {}
    return {"image": train.images, "label": train.labels}


def _card(config: Config, splits: Splits) -> dict[str, str]:
    if len(splits) == 1:
        _LOGGER.warning("no held-out pictures to score: try --config.data.holdout=0.1")
    sizes = ", ".join(f"{name} {len(source):,}" for name, source in splits.items())
    shape = "x".join(map(str, splits["train"].image_shape))
    classes = len(splits["train"].label_names)
    return {
        "model": config.model.name,
        "data": f"{config.data.source} ({sizes}; {shape}, {classes} classes)",
        "precision": config.precision,
    }
