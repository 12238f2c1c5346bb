"""Build the experiment that a config describes: data, step, events and outputs."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from imgrec_jax.build.evaluators import Scored, build_evaluators
from imgrec_jax.build.initial_state import first_weights, initial_state
from imgrec_jax.build.optimizers import (
    build_gradient,
    build_optimizer,
    build_schedule,
    describe_decay,
    describe_learning,
    over_the_run,
)
from imgrec_jax.build.preprocessing import build_augmentations, normalization
from imgrec_jax.build.sources import for_reading
from imgrec_jax.build.tasks import build_task, open_data, task_name, task_spec
from imgrec_jax.config import Config
from imgrec_jax.core import facts as core_facts
from imgrec_jax.core import state
from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.fields import LABEL_MAP, of_kind
from imgrec_jax.core.task import Task
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead, ahead
from imgrec_jax.data.loading.samplers import make_sampler
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.source import (
    ArraySource,
    Source,
    Splits,
    facts_of,
    fingerprint,
    targets_of,
)
from imgrec_jax.training.checkpoints.best import Selection, read_selection
from imgrec_jax.training.experiment import (
    AfterEvaluation,
    Data,
    Events,
    Experiment,
    Outputs,
    Step,
    do_nothing,
)
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
    augments = build_augmentations(config.augment)
    splits = for_reading(config.data, open_data(config))
    batches, resident = _training_batches(config, splits, devices)
    facts = describe(config, batches)
    task = build_task(config, facts, devices, augments)
    total_steps = config.epochs * batches.steps_per_epoch
    schedule = build_schedule(config, total_steps)
    optimizer = over_the_run(build_optimizer(config, schedule), config, total_steps)
    init = functools.partial(initial_state, config, task, optimizer, facts)
    like = jax.eval_shape(init)
    outputs = _outputs(config, splits, facts, task, follow)
    decay = describe_decay(config, like.params)
    return Experiment(
        step=Step(
            task=task,
            optimizer=optimizer,
            parallel=devices,
            steps_per_call=_steps_per_call(config, batches),
            micro_batches=config.micro_batches,
            ema_decay=config.optim.ema_decay,
            matmul_precision=MATMUL_PRECISIONS[config.precision],
            gradient=build_gradient(config),
        ),
        data=_data(config, splits, batches, resident, devices, total_steps),
        events=_events(config),
        outputs=dataclasses.replace(outputs, card={**outputs.card, "decay": decay}),
        seed=config.seed,
        schedule=schedule,
        init=jax.jit(init, out_shardings=_shardings(devices, like)),
        warm_start=functools.partial(first_weights, config, facts, batches.source, devices),
        further=build_evaluators(Scored(task, config, devices, splits)),
    )


def _training_batches(
    config: Config, splits: Splits, devices: parallel.Parallel
) -> tuple[TrainBatches, dict[str, np.ndarray]]:
    """Return the training batches, and the arrays that stay on the device for the whole run."""
    train = _training_split(config, splits)
    resident = _resident(train, devices.devices[0])
    batches = TrainBatches(
        train,
        config.batch_size,
        config.seed,
        resident=bool(resident),
        columns=devices.columns(config.batch_size, config.micro_batches),
        sampling=config.data.sampling,
        partners=bool(config.mixing),
    )
    return batches, resident


def _steps_per_call(config: Config, batches: TrainBatches) -> int:
    # Sending many batches at once would only take memory: what is sent goes step by step.
    automatic = min(100, batches.steps_per_epoch) if batches.resident else 1
    return config.steps_per_call or automatic


def _data(
    config: Config,
    splits: Splits,
    batches: TrainBatches,
    resident: dict[str, np.ndarray],
    devices: parallel.Parallel,
    total_steps: int,
) -> Data:
    def broken() -> dict[str, dict[int, str]]:
        return {
            n: source.found for n, source in splits.items() if isinstance(source, DamageCounter)
        }

    def one_pass_over(source: Source) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
        return functools.partial(
            one_pass,
            source,
            config.eval_batch_size,
            devices,
            sampling=config.data.eval_sampling,
            seed=config.seed,
        )

    return Data(
        train=batches if _at_hand(batches.source) else TrainBatchesAhead(batches, total_steps),
        passes={n: one_pass_over(source) for n, source in splits.items() if n != "train"},
        resident=resident,
        fingerprint=functools.cache(functools.partial(fingerprint, splits)),
        broken=broken,
    )


def _events(config: Config) -> Events:
    return Events(
        epochs=config.epochs,
        eval_every=config.eval_every,
        log_every=config.log.every_steps,
        histograms_every=config.log.histograms_every,
        save_every=config.checkpoint.every_steps,
        save_minutes=config.checkpoint.every_minutes,
        stop_unsaved=config.checkpoint.stop_unsaved,
        keep=config.checkpoint.keep,
    )


def _outputs(
    config: Config, splits: Splits, facts: dict[str, Any], task: Task, follow: Follow
) -> Outputs:
    selection = read_selection(config.checkpoint.best, task.headline)
    return Outputs(
        facts=facts,
        card=_card(config, splits, facts),
        selection=selection,
        wandb=config.log.wandb,
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
    train, needs = splits["train"], task_spec(config).needs
    if missing := [name for name in needs if name not in train[0]]:
        raise UsageError(
            f"expected examples with '{missing[0]}' for task '{task_name(config)}', got none in "
            f"{config.data.source}; try another kind of data.source"
        )
    return train


def describe(config: Config, batches: TrainBatches) -> dict[str, Any]:
    """Return what a checkpoint says of itself: all that scoring needs, apart from the data."""
    train = batches.source
    spec = core_facts.element_spec(batches.first_example())
    images = {}
    if "image" in spec:
        mean, std = normalization(config.data.normalization, train)
        images = {"mean": mean, "std": std}
    return {
        "config": config.to_dict(),
        "label_names": list(train.label_names),
        "class_counts": _class_counts(train),
        "image_shape": list(train.image_shape),
        "element_spec": spec,
        "mean": [0.0],
        "std": [1.0],
        **images,
        **facts_of(train),
        **batches.sampler.facts,
    }


def _class_counts(train: Source) -> list[int]:
    """Return how many pictures there are of each class; of label maps, how many pixels."""
    classes = len(train.label_names)
    maps = next(iter(of_kind(targets_of(train), LABEL_MAP).values()), None)
    if maps is None:
        return np.bincount(train.labels, minlength=classes).tolist()
    # Image by image, since bincount widens what it counts to eight bytes.
    counts = sum((np.bincount(m.ravel(), minlength=classes)[:classes] for m in maps), np.array(0))
    return counts.tolist()


def one_pass(
    source: Source,
    batch_size: int,
    devices: parallel.Parallel,
    *,
    sampling: str = "in_order",
    seed: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Return the batches of one pass over a source.

    No score depends on the size of evaluation batches: the next one that divides is taken.
    """
    parts = len(devices.devices)
    size = -(-min(batch_size, _draws(source, sampling, seed)) // parts) * parts
    batches = EvalBatches(source, size, devices.columns(size), sampling, seed)
    numbers = range(len(batches))
    return map(batches, numbers) if _at_hand(source) else ahead(batches, numbers)


def _draws(source: Source, sampling: str, seed: int) -> int:
    """Return how many rows a pass has: the examples of the source, or so many episodes."""
    settings = {"size": len(source), "batch_size": 1, "seed": seed, "labels": source.labels}
    return make_sampler(sampling, "data.eval_sampling", **settings).steps_per_epoch


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


def _card(config: Config, splits: Splits, facts: dict[str, Any]) -> dict[str, str]:
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
    fields = facts["element_spec"]
    shape = "x".join(map(str, train.image_shape)) if "image" in fields else ", ".join(fields)
    classes = len(train.label_names)
    return {
        "model": config.model.name,
        "learning": describe_learning(config),
        "data": f"{config.data.source} ({sizes}; {shape}, {classes} classes)",
        "precision": config.precision,
    }
