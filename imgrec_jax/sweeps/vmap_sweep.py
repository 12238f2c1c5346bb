"""Train many networks in one program; they differ only in seed and optimizer settings."""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from imgrec_jax.build.initial_state import initial_state
from imgrec_jax.build.optimizers import build_optimizer, peak_learning_rate
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.nested import flatten
from imgrec_jax.core.state import TrainState
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead
from imgrec_jax.optim.optimizers import NONE_AT_ZERO
from imgrec_jax.optim.vmap_optimizers import stacked
from imgrec_jax.tasks.wrappers.vmap_networks import together
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.experiment import Experiment, TrainFeed
from imgrec_jax.training.loop import fit
from imgrec_jax.training.progress import checkpoint_meta
from imgrec_jax.training.run import describe_result
from imgrec_jax.training.step.parallel import HostBatch, savable
from imgrec_jax.training.workdir.files import Workdir

_RATE = "of the learning rate"
_TIMED_CALLS, _TIMED_SECONDS = 3, 1.0  # at most, after the first call


@dataclass(frozen=True)
class Feeds:
    """The batches of k runs side by side, `[steps, batch, k, ...]`."""

    feeds: Sequence[TrainFeed]

    @property
    def batch_size(self) -> int:
        return self.feeds[0].batch_size

    @property
    def steps_per_epoch(self) -> int:
        return self.feeds[0].steps_per_epoch

    def __call__(self, step: int, steps: int = 1) -> HostBatch:
        batches = [feed(step, steps) for feed in self.feeds]
        return {name: np.stack([b[name] for b in batches], axis=2) for name in batches[0]}

    def examples(self, step: int) -> int:
        """Return the number of examples seen before `step`, over all networks."""
        return sum(feed.examples(step) for feed in self.feeds)


def check_together(configs: Sequence[Config]) -> None:
    """Raise if the configs differ in more than seed and numeric optimizer settings.

    Raises:
        UsageError: a one-line message; also for settings that cannot be stacked.
    """
    optimizer, differing = configs[0].optim.name, _differing(configs)
    numbers = {f"optim.{optimizer}.{name}" for name in _numbers(configs[0])}
    others = differing.keys() - numbers - {"seed", "optim.learning_rate"}
    none = [key for key in sorted(NONE_AT_ZERO & differing.keys()) if 0 in differing[key]]
    reason = ""
    if others:
        reason = f"{', '.join(sorted(others))} in the grid"
    elif none:
        reason = f"{none[0]}=0, which leaves a part of the optimizer out"
    elif configs[0].optim.sam_rho:
        reason = "optim.sam_rho, which looks at all parameters at once"
    elif configs[0].optim.lookahead:
        reason = "optim.lookahead, whose steps are not all in proportion to the rate"
    elif configs[0].optim.by_path:
        reason = "optim.by_path, whose optimizers have their own rates"
    elif configs[0].init_from:
        reason = "init_from"
    elif configs[0].evaluators:
        reason = "evaluators, which support one network"
    if reason:
        raise UsageError(
            "expected runs that differ in seed, optim.learning_rate and numbers of "
            f"optim.{optimizer} for --backend=vmap, got {reason}; try --backend=local"
        )


def build_together(configs: Sequence[Config], alone: Experiment) -> Experiment:
    """Return the experiment that trains all configs at once; `alone` is that of the first."""
    task = together(alone.task, [config.seed for config in configs])
    optimizer = _stacked_optimizer(configs, alone)
    init = functools.partial(initial_state, configs[0], task, optimizer, alone.outputs.facts)
    feeds = [_of_seed(config.seed, alone.train) for config in configs]
    return dataclasses.replace(
        alone,
        step=dataclasses.replace(alone.step, task=task, optimizer=optimizer),
        data=dataclasses.replace(alone.data, train=Feeds(feeds)),
        init=jax.jit(init, out_shardings=alone.parallel.shardings(jax.eval_shape(init))),
    )


def faster_together(
    alone: Experiment, many: Experiment, networks: int, longest: float = math.inf
) -> tuple[float, float]:
    """Measure the seconds of a step of all networks, one after the other and together.

    The compiled programs stay in the cache for the training, which starts from scratch: nothing
    of the measurement affects it.

    Args:
        alone: the experiment of one network.
        many: the experiment of all networks.
        networks: number of networks.
        longest: if a step of one network takes more seconds, the second number is infinite and
            not measured.
    """
    one = _seconds_of_a_step(alone)
    return networks * one, math.inf if one > longest else _seconds_of_a_step(many)


def begun(configs: Sequence[Config], workdir: Path) -> bool:
    """Return whether `train_together` has begun to train these configs in `workdir`."""
    return Workdir(workdir).read_json("config.json") == _settings(configs)


def train_together(
    configs: Sequence[Config], many: Experiment, workdir: Path, folders: Sequence[Path]
) -> None:
    """Train in `workdir`, and write to each folder the files of a run on its own.

    These are config.json, metrics.jsonl, result.json and the last checkpoint, whose scores are the
    headline: the best step of each network is not kept.

    Raises:
        Interrupted: SIGINT or SIGTERM arrived; the same call resumes.
        UsageError: other runs have begun in `workdir`.
    """
    started, whole = time.perf_counter(), Workdir(workdir)
    whole.create()
    if whole.read_json("config.json") is not None and not begun(configs, workdir):
        raise UsageError(
            f"expected the sweep that {workdir} was started with, got another; try another "
            "--workdir"
        )
    whole.write_json("config.json", _settings(configs))
    state, progress = fit(many, whole, many.init(), print)
    state = savable(state)
    seconds = {**progress.seconds, "total": time.perf_counter() - started}
    peak = peak_learning_rate(configs[0])
    for k, (config, folder) in enumerate(zip(configs, folders, strict=True)):
        settings, own = config.to_dict(), Workdir(folder)
        rate = peak_learning_rate(config) / peak
        events = [_event_of(k, rate, event) for event in whole.read_metrics()]
        own.create()
        own.write_metrics(events)
        # Without a val split, the result reports the last step.
        alone = dataclasses.replace(
            many,
            data=dataclasses.replace(
                many.data,
                train=many.train.feeds[k],  # pyright: ignore[reportAttributeAccessIssue]
                passes={},
            ),
            outputs=dataclasses.replace(
                many.outputs, facts={**many.outputs.facts, "config": settings}
            ),
        )
        network = _network(k, state)
        scores = {name: v for name, v in events[-1].items() if name not in {"kind", "step"}}
        with Checkpoints(own.checkpoints) as checkpoints:
            checkpoints.save(network, checkpoint_meta(alone, scores, progress), scores)
        own.write_json("config.json", settings)
        result = describe_result(alone, own, settings, network, progress, seconds)
        own.write_json("result.json", {**result, "trained_together": len(configs)})


def _stacked_optimizer(
    configs: Sequence[Config], alone: Experiment
) -> optax.GradientTransformation:
    """Return the optimizer of all networks, each with the rate and numbers of its config."""
    peak, differing = peak_learning_rate(configs[0]), _differing(configs)
    block = f"optim.{configs[0].optim.name}."
    settings = {
        key.removeprefix(block): values
        for key, values in differing.items()
        if key.startswith(block)
    }
    rates = [peak_learning_rate(config) / peak for config in configs]

    def make(own: Mapping[str, Any]) -> optax.GradientTransformation:
        arrays = dict(own)
        rate = arrays.pop(_RATE)

        def schedule(step: Any) -> Any:
            return rate * alone.schedule(step)

        return build_optimizer(configs[0], schedule, arrays)

    return stacked(make, {**settings, _RATE: rates})


def _differing(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Return the values of the keys that differ between configs."""
    flat = [flatten(config.to_dict()) for config in configs]
    values = {key: [one[key] for one in flat] for key in flat[0]}
    return {key: some for key, some in values.items() if some.count(some[0]) < len(flat)}


def _numbers(config: Config) -> list[str]:
    """Return the names of the numeric settings of the optimizer."""
    block = config.optim.get(config.optim.name, {})
    return [name for name, value in block.items() if type(value) is float]


def _of_seed(seed: int, feed: Any) -> TrainFeed:
    """Return the batches of a run with another seed."""
    if isinstance(feed, TrainBatchesAhead):
        return TrainBatchesAhead(dataclasses.replace(feed.batches, seed=seed), feed.last)
    return dataclasses.replace(feed, seed=seed)


def _settings(configs: Sequence[Config]) -> dict[str, Any]:
    """Return the content of config.json for all runs."""
    return {"together": [config.to_dict() for config in configs]}


def _seconds_of_a_step(experiment: Experiment) -> float:
    program = experiment.train_program()
    root, state = experiment.parallel.replicate(experiment.root_key), experiment.init()
    steps = min(experiment.step.steps_per_call, experiment.train.steps_per_epoch)
    batch = experiment.train(0, steps)
    calls, started, seconds = 0, 0.0, 0.0
    with jax.default_matmul_precision(experiment.step.matmul_precision):
        while calls <= _TIMED_CALLS and seconds < _TIMED_SECONDS:
            state, sums = program(state, batch, root)
            jax.block_until_ready((state.params, sums))
            if calls == 0:  # the first call compiles
                started = time.perf_counter()
            seconds = time.perf_counter() - started
            calls += 1
    return seconds / ((calls - 1) * steps)


def _network(k: int, state: TrainState) -> TrainState:
    """Return the state of one of the networks."""
    parts = ("params", "model_state", "opt_state", "ema")
    own = {name: jax.tree.map(lambda leaf: leaf[k], getattr(state, name)) for name in parts}
    return dataclasses.replace(state, **own)


def _event_of(k: int, rate: float, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return a logged event as a run of that network alone would have logged it."""
    shared = {name: event[name] for name in ("kind", "step", "images_per_second") if name in event}
    own = {name.removesuffix(f"[{k}]"): v for name, v in event.items() if name.endswith(f"[{k}]")}
    if "learning_rate" in event:
        own["learning_rate"] = rate * event["learning_rate"]
    return shared | own
