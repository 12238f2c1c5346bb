"""Build the experiment that a config describes: data, step, events and outputs."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import jax

from imgrec_jax.build.batches import build_data, training_batches
from imgrec_jax.build.evaluators import Scored, build_evaluators
from imgrec_jax.build.facts import describe
from imgrec_jax.build.initial_state import first_weights, initial_state
from imgrec_jax.build.models import build_model
from imgrec_jax.build.optimizers import (
    build_gradient,
    build_optimizer,
    build_schedule,
    describe_decay,
    describe_learning,
    over_the_run,
)
from imgrec_jax.build.preprocessing import build_augmentations, check_preprocessing
from imgrec_jax.build.selection import build_selection
from imgrec_jax.build.sources import for_reading
from imgrec_jax.build.tasks import build_task, one_model, open_data, task_spec
from imgrec_jax.config import Config
from imgrec_jax.core import state
from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.core.ranges import MOST
from imgrec_jax.core.task import Task
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import Splits, without_unlabelled
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.experiment import (
    AfterEvaluation,
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
_FEW = 5_000  # images; with fewer, training from scratch seldom works well
MATMUL_PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


Follow = Callable[[Task, Splits, Selection | None], AfterEvaluation]
"""`(task, data, selection of the best step) -> callback for evaluations`."""


def nobody(task: Task, splits: Splits, best: Selection | None) -> AfterEvaluation:
    """Return a callback that does nothing."""
    del task, splits, best
    return do_nothing


def build_experiment(config: Config, follow: Follow = nobody) -> Experiment:
    """Return the complete experiment of a training run.

    Args:
        config: as `get_config` returns it.
        follow: returns the callback for each evaluation.

    Raises:
        UserError: data cannot be read, or the config names something that does not exist.
    """
    devices = build_parallel(config)
    parallel.check_batch_size("batch_size", config.batch_size, devices, config.micro_batches)
    augments = build_augmentations(config.augment)
    check_settings(config, devices)
    splits = for_reading(config.data, open_data(config))
    batches, resident = training_batches(config, splits, devices)
    facts = describe(config, batches)
    task = build_task(config, facts, devices, augments)
    total_steps = _total_steps(config, batches)
    schedule = build_schedule(config, total_steps)
    optimizer = over_the_run(build_optimizer(config, schedule), config, total_steps)
    init = functools.partial(initial_state, config, task, optimizer, facts)
    like = jax.eval_shape(init)
    labelled = without_unlabelled(splits)
    further = build_evaluators(Scored(task, config, devices, labelled))
    selection = build_selection(config, task, like, labelled, further)
    after_evaluation = follow(task, labelled, selection if "val" in splits else None)
    outputs = _outputs(config, splits, facts, after_evaluation, selection)
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
        data=build_data(config, splits, batches, resident, devices, total_steps),
        events=_events(config),
        outputs=dataclasses.replace(outputs, card={**outputs.card, "decay": decay}),
        seed=config.seed,
        schedule=schedule,
        init=jax.jit(init, out_shardings=_shardings(devices, like)),
        warm_start=functools.partial(first_weights, config, facts, batches.source, devices),
        further=further,
    )


def check_settings(config: Config, devices: parallel.Parallel) -> None:
    """Raise for settings that are wrong whatever the data, before any are read.

    Raises:
        UsageError: an unknown name, or a setting outside of its range.
    """
    check_preprocessing(config)
    if task_spec(config).network is one_model:
        build_model(config, 1, devices)
    over_the_run(build_optimizer(config, build_schedule(config, MOST)), config, MOST)


def _total_steps(config: Config, batches: TrainBatches) -> int:
    """Return the steps of the run, which are counted in int32."""
    if config.epochs > MOST // batches.steps_per_epoch:
        raise UsageError(
            f"expected at most {MOST:,} steps, got {config.epochs:,} epochs of "
            f"{batches.steps_per_epoch:,}; try --config.epochs={MOST // batches.steps_per_epoch}"
        )
    return config.epochs * batches.steps_per_epoch


def _steps_per_call(config: Config, batches: TrainBatches) -> int:
    # Sending many batches at once would only take memory: batches are sent step by step.
    automatic = min(100, batches.steps_per_epoch) if batches.resident else 1
    return config.steps_per_call or automatic


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
    config: Config,
    splits: Splits,
    facts: dict[str, Any],
    after_evaluation: AfterEvaluation,
    selection: Selection,
) -> Outputs:
    return Outputs(
        facts=facts,
        card=_card(config, splits, facts),
        selection=selection,
        wandb=config.log.wandb,
        after_evaluation=after_evaluation,
    )


def build_parallel(config: Config) -> parallel.Parallel:
    """Return the layout of steps on the devices."""
    settings = config.parallel
    return parallel.choose(
        settings.mode,
        select_devices(settings.devices),
        fsdp=settings.fsdp,
        rules=parse_rules(settings.rules),
        sync_batchnorm=settings.sync_batchnorm,
    )


def _shardings(devices: parallel.Parallel, like: state.TrainState) -> Any:
    """Return the shardings of the state, after a check that each rule matches some array."""
    paths = [path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(like)]
    if patterns := unmatched(paths, devices.rules):
        raise UsageError(
            f"expected patterns of parallel.rules that match a parameter, got '{patterns[0]}'"
            f"{did_you_mean(patterns[0], paths)}; try one of {', '.join(paths[1:9])}"
        )
    return devices.shardings(like)


def _card(config: Config, splits: Splits, facts: dict[str, Any]) -> dict[str, str]:
    train = splits["train"]
    if len(splits) == 1:
        _LOGGER.warning("no held-out images to score: try --config.data.holdout=0.1")
    if config.data.source.startswith("folder:") and not config.init_from and len(train) < _FEW:
        _LOGGER.warning(
            "%s training images are few: pretrained weights help, try "
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
