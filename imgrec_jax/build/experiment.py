"""From a config to the objects of a run: the one module that may see everything."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from imgrec_jax.build.initial_state import first_weights, initial_state
from imgrec_jax.build.optimizers import (
    build_gradient,
    build_optimizer,
    build_schedule,
    describe_decay,
    describe_learning,
    over_the_run,
)
from imgrec_jax.build.preprocessing import (
    build_augmentation,
    normalization,
)
from imgrec_jax.build.sources import for_reading, open_source
from imgrec_jax.build.tasks import TARGETS, build_task
from imgrec_jax.config import Config
from imgrec_jax.core import state
from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.task import Task
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead, ahead
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.source import ArraySource, Source, Splits, fingerprint
from imgrec_jax.training.checkpoints.best import Selection, read_selection
from imgrec_jax.training.experiment import AfterEvaluation, Experiment, do_nothing
from imgrec_jax.training.host.devices import select_devices
from imgrec_jax.training.step import parallel
from imgrec_jax.training.step.sharding import parse_rules, unmatched

_LOGGER = logging.getLogger(__name__)

_FEW = 5_000  # pictures, below which a network seldom learns enough from scratch
MATMUL_PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


Follow = Callable[[Task, Splits, Selection | None], AfterEvaluation]
"""Told task, data and what selects the best step, it returns what is told of evaluations."""


def nobody(task: Task, splits: Splits, best: Selection | None) -> AfterEvaluation:
    """Follow no run."""
    del task, splits, best
    return do_nothing


def build_experiment(config: Config, follow: Follow = nobody) -> Experiment:
    """Return everything that a training run is made of.

    Args:
        config: as `get_config` returns it.
        follow: makes what is told of each evaluation.

    Raises:
        UserError: data cannot be read, or the config asks for what does not exist.
    """
    devices = build_parallel(config)
    parallel.check_batch_size("batch_size", config.batch_size, devices, config.micro_batches)
    augment = build_augmentation(config.augment)
    splits = for_reading(config.data, open_source(config))
    train = _training_split(config, splits)
    about = describe(config, train)
    task = build_task(config, about, devices, augment)

    resident = _resident(train, devices.devices[0])
    # Sending many batches at once would only take memory: what is sent goes step by step.
    automatic = min(100, -(-len(train) // config.batch_size)) if resident else 1
    steps_per_call = config.steps_per_call or automatic
    batches = TrainBatches(
        train,
        config.batch_size,
        config.seed,
        resident=bool(resident),
        columns=devices.columns(config.batch_size, config.micro_batches),
        sampling=config.data.sampling,
        partners=bool(config.mixing),
    )
    total_steps = config.epochs * batches.steps_per_epoch
    schedule = build_schedule(config, total_steps)
    optimizer = over_the_run(build_optimizer(config, schedule), config, total_steps)
    init = functools.partial(initial_state, config, task, optimizer, about)
    like = jax.eval_shape(init)
    selection = read_selection(config.checkpoint.best, task.headline)
    return Experiment(
        task=task,
        optimizer=optimizer,
        parallel=devices,
        schedule=schedule,
        init=jax.jit(init, out_shardings=_shardings(devices, like)),
        warm_start=functools.partial(first_weights, config, about, train, devices),
        root_key=jax.random.key(config.seed),
        train=batches if _at_hand(train) else TrainBatchesAhead(batches, total_steps),
        evaluations={
            name: functools.partial(one_pass, source, config.eval_batch_size, devices)
            for name, source in splits.items()
            if name != "train"
        },
        epochs=config.epochs,
        eval_every=config.eval_every,
        steps_per_call=steps_per_call,
        micro_batches=config.micro_batches,
        ema_decay=config.optim.ema_decay,
        resident=resident,
        log_every=config.log.every_steps,
        histograms_every=config.log.histograms_every,
        wandb=config.log.wandb,
        save_every=config.checkpoint.every_steps,
        save_minutes=config.checkpoint.every_minutes,
        stop_unsaved=config.checkpoint.stop_unsaved,
        keep=config.checkpoint.keep,
        about=about,
        card={**_card(config, splits), "decay": describe_decay(config, like.params)},
        fingerprint=functools.cache(functools.partial(fingerprint, splits)),
        matmul_precision=MATMUL_PRECISIONS[config.precision],
        selection=selection,
        gradient=build_gradient(config),
        broken=lambda: {
            name: source.found
            for name, source in splits.items()
            if isinstance(source, DamageCounter)
        },
        after_evaluation=follow(task, splits, selection if "val" in splits else None),
    )


def build_parallel(config: Config) -> parallel.Parallel:
    """Return how steps are laid over the devices."""
    settings = config.parallel
    return parallel.choose(
        settings.mode,
        select_devices(settings.devices),
        fsdp=settings.fsdp,
        rules=parse_rules(settings.rules),
        sync_batchnorm=settings.sync_batchnorm,
    )


def _shardings(devices: parallel.Parallel, like: state.TrainState) -> Any:
    """Return how the state lies on the devices, with each rule known to match something."""
    paths = [path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(like)]
    if patterns := unmatched(paths, devices.rules):
        raise UsageError(
            f"expected patterns of parallel.rules that match a parameter, got '{patterns[0]}'"
            f"{did_you_mean(patterns[0], paths)}; try one of {', '.join(paths[1:9])}"
        )
    return devices.shardings(like)


def _training_split(config: Config, splits: Splits) -> Source:
    if "train" not in splits:
        raise UsageError(
            f"expected a train split in {config.data.source}, got {', '.join(sorted(splits))}; "
            "try a source with class folders, or with train/ above them"
        )
    train, target = splits["train"], TARGETS.get(config.task.name, "image")
    if target not in train[0]:
        raise UsageError(
            f"expected examples with '{target}' for task '{config.task.name}', got none in "
            f"{config.data.source}; try another kind of data.source"
        )
    return train


def describe(config: Config, train: Source) -> dict[str, Any]:
    """Return what a checkpoint says of itself: all that scoring needs, apart from pictures."""
    mean, std = normalization(config.data.normalization, train)
    return {
        "config": config.to_dict(),
        "label_names": list(train.label_names),
        "class_counts": _class_counts(train),
        "image_shape": list(train.image_shape),
        "mean": mean,
        "std": std,
    }


def _class_counts(train: Source) -> list[int]:
    """Return how many pictures there are of each class; of label maps, how many pixels."""
    classes = len(train.label_names)
    maps = train.arrays.get("label_map") if isinstance(train, ArraySource) else None
    if maps is None:
        return np.bincount(train.labels, minlength=classes).tolist()
    # Picture by picture, since bincount widens what it counts to eight bytes.
    counts = sum((np.bincount(m.ravel(), minlength=classes)[:classes] for m in maps), np.array(0))
    return counts.tolist()


def one_pass(
    source: Source, batch_size: int, devices: parallel.Parallel
) -> Iterator[dict[str, np.ndarray]]:
    """Return the batches of one pass over a source.

    No score depends on the size of evaluation batches: the next one that divides is taken.
    """
    parts = len(devices.devices)
    size = -(-min(batch_size, len(source)) // parts) * parts
    batches = EvalBatches(source, size, devices.columns(size))
    numbers = range(len(batches))
    return map(batches, numbers) if _at_hand(source) else ahead(batches, numbers)


def _at_hand(source: Source) -> bool:
    """Tell whether examples lie in memory, where a batch takes no time to make."""
    return isinstance(source, ArraySource)


def _resident(train: Source, device: jax.Device) -> dict[str, np.ndarray]:
    """Return the arrays that may stay on an accelerator: those that take a quarter of it at most.

    On CPU there is nothing to save: host and device memory are the same.
    """
    if device.platform == "cpu" or not isinstance(train, ArraySource):
        return {}
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    if sum(array.nbytes for array in train.arrays.values()) > memory // 4:
        return {}
    return train.arrays


def _card(config: Config, splits: Splits) -> dict[str, str]:
    train = splits["train"]
    if len(splits) == 1:
        _LOGGER.warning("no held-out pictures to score: try --config.data.holdout=0.1")
    if config.data.source.startswith("folder:") and not config.init_from and len(train) < _FEW:
        _LOGGER.warning(
            "%s training pictures are few: weights that have seen more help, try "
            "--config.init_from=RUN or a .safetensors file of the model",
            f"{len(train):,}",
        )
    sizes = ", ".join(f"{name} {len(source):,}" for name, source in splits.items())
    shape = "x".join(map(str, train.image_shape))
    classes = len(train.label_names)
    return {
        "model": config.model.name,
        "learning": describe_learning(config),
        "data": f"{config.data.source} ({sizes}; {shape}, {classes} classes)",
        "precision": config.precision,
    }
