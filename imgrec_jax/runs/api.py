"""Python API: train a config, and load a trained run."""

import dataclasses
import datetime
import functools
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from imgrec_jax.build import experiment
from imgrec_jax.build.initial_state import initial_state
from imgrec_jax.build.memory import check_memory
from imgrec_jax.build.optimizers import build_optimizer, build_schedule, over_the_run
from imgrec_jax.build.preprocessing import build_augmentations
from imgrec_jax.build.tasks import build_task, task_spec
from imgrec_jax.config import Config, check, get_config
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.facts import completed
from imgrec_jax.core.nested import with_new_names
from imgrec_jax.core.task import Facts, Task
from imgrec_jax.optim.schedules import constant
from imgrec_jax.runs.reporter import Reporter
from imgrec_jax.runs.trained import Run
from imgrec_jax.training import run
from imgrec_jax.training.checkpoints.best import read_selection
from imgrec_jax.training.checkpoints.orbax import Checkpoints, scored_step
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host.signals import Interrupted
from imgrec_jax.training.step import parallel
from imgrec_jax.training.workdir.files import Workdir

_NOT_FACTS = frozenset({"config", "fingerprint", "metrics", "progress", "versions"})
"""Metadata of a checkpoint that are not facts of its network."""


def train(
    config: ConfigDict,
    workdir: str | os.PathLike[str] | None = None,
    *,
    accept_changes: bool = False,
) -> Run:
    """Train a config in `workdir`, or resume the run there, and return the run.

    `python -m imgrec_jax.main` calls this function. It returns the weights that `result.json`
    scores. In a notebook or at the prompt, Ctrl-C (the kernel's interrupt) saves and returns the
    run so far; the same call resumes it.

    Args:
        config: as `get_config` returns it.
        workdir: the folder of the run; by default a new folder `runs/<date>_<time>`.
        accept_changes: resume a run with changes of its config, in keys that may change.

    Raises:
        UserError, UsageError: as the command line prints them.
        Interrupted: Ctrl-C or SIGTERM in a script; a checkpoint is saved.
    """
    check(config)
    folder = Workdir(_new_folder() if workdir is None else workdir)
    settings = config.to_dict()
    reporter = Reporter(folder, settings)
    follow = reporter.follow if settings["log"]["report"] else experiment.nobody
    try:
        outcome = run.run(
            settings,
            folder,
            lambda: _build(config, follow),
            schedules=lambda saved, steps: build_schedule(_completed(saved), steps),
            defaults=get_config("base").to_dict(),
            accept_changes=accept_changes,
        )
    except BaseException as error:
        reporter.stopped()
        if not isinstance(error, Interrupted | KeyboardInterrupt):
            raise
        # A script that continued from here would treat the run as finished.
        if not (hasattr(sys, "ps1") and folder.has_checkpoints()):
            raise
        stopped = load(folder.path)
        print(
            f"Stopped; returning the run as saved at step {stopped.step:,}. The same call resumes "
            "it."
        )
        return dataclasses.replace(stopped, trained=True)
    trained = dataclasses.replace(load(folder.path), trained=outcome.trained)
    if outcome.trained:
        reporter.finished(trained)
    return trained


def _build(config: Config, follow: experiment.Follow) -> Experiment:
    """Return the experiment of a config, after a check that it fits into memory."""
    built = experiment.build_experiment(config, follow)
    check_memory(config, built)
    return built


def load(path: str | os.PathLike[str], step: int | str | None = None, weights: str = "") -> Run:
    """Restore a run from its workdir or from one of its checkpoint folders.

    Args:
        path: the workdir or the checkpoint folder.
        step: a number, "last", or "best" by the val split; by default the step scored in
            `result.json`, or the last step of an unfinished run.
        weights: "params" or "ema"; by default the scored weights: the moving average, if one was
            kept.

    Raises:
        UserError: no run, unknown step, or a damaged checkpoint.
        UsageError: no such weights.
    """
    workdir = Workdir(path)
    if workdir.path.parent.name == "checkpoints" and workdir.path.name.isdecimal():
        if step is not None:
            raise UsageError(
                f"expected a workdir together with step={step}, got the checkpoint {path}; "
                f"try {workdir.path.parents[1]}"
            )
        step, workdir = int(workdir.path.name), Workdir(workdir.path.parents[1])
    if not workdir.has_checkpoints():
        raise UserError(
            f"expected a run with checkpoints in {workdir.path}, got none; "
            "try the --workdir that the run was trained in"
        )
    with Checkpoints(workdir.checkpoints, read_only=True) as checkpoints:
        step = _find_step(step, workdir, checkpoints)
        try:
            return _restore(step, weights, checkpoints, workdir)
        except UsageError:
            raise
        except UserError as error:
            others = [str(other) for other in checkpoints.steps if other != step]
            ways = [f"step {' or '.join(others)}"] if others else []
            ways.append("the training command again, which goes on from a whole checkpoint")
            raise UserError(f"{error}; try {', or '.join(ways)}") from error


def _restore(step: int, weights: str, checkpoints: Checkpoints, workdir: Workdir) -> Run:
    meta = checkpoints.read_meta(step)
    facts = completed(meta)
    config, task = _completed(meta["config"]), _task(facts)
    # Only the structure of the optimizer's state matters, not its rate or number of steps.
    optimizer = over_the_run(build_optimizer(config, constant(0.0, 1)), config, 1)
    like = jax.eval_shape(functools.partial(initial_state, config, task, optimizer, facts))
    state, _ = checkpoints.restore(step, like)
    params, model_state = state.weights(weights)
    return Run(
        params=params,
        model_state=model_state,
        module=task_spec(config).network(config, facts, _one_device()),
        task=task,
        config=config,
        facts={name: value for name, value in facts.items() if name not in _NOT_FACTS},
        step=int(state.step),
        metrics=dict(meta["metrics"]),
        result=workdir.read_result() or {},
    )


def _find_step(step: int | str | None, workdir: Workdir, checkpoints: Checkpoints) -> int:
    steps = checkpoints.steps
    if step is None:
        step = scored_step(workdir, checkpoints)
    elif step == "last":
        step = steps[-1]
    elif step == "best":
        step = _best_step(workdir, checkpoints)
    if step not in steps:
        raise UsageError(
            f"expected a checkpoint of step {step} in {workdir.checkpoints}, "
            f"got steps {steps}; try one of these, or best, or last"
        )
    return int(step)


def _best_step(workdir: Workdir, checkpoints: Checkpoints) -> int:
    """Return the saved step that is best on the val split; the last one among equals."""
    metas = {step: checkpoints.read_meta(step) for step in checkpoints.steps}
    last = metas[checkpoints.steps[-1]]
    best = read_selection(
        _completed(last["config"]).checkpoint.best, _task(completed(last)).headline
    )
    scores = {s: best.value(m["metrics"]) for s, m in metas.items() if best.name in m["metrics"]}
    if not scores:
        raise UsageError(
            f"expected a run that was scored on a val split for step=best, got {workdir.path}, "
            "which has none; try step=last, or --config.data.holdout=0.1 in training"
        )
    return max(scores, key=lambda step: (scores[step], step))


def _task(facts: Facts) -> Task:
    """Return the task of a checkpoint as in evaluation: without augmentation."""
    config = _completed(facts["config"])
    return build_task(config, facts, _one_device(), build_augmentations(""))


def _completed(config: Mapping[str, Any]) -> Any:
    """Return a saved config, with defaults for keys that were added since."""

    def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        nested = {
            key: over(below.get(key, {}), value)
            for key, value in above.items()
            if isinstance(value, Mapping)
        }
        return {**below, **above, **nested}

    defaults = get_config("base").to_dict()
    return ConfigDict(over(defaults, with_new_names(config))).lock()


def _one_device() -> parallel.Parallel:
    """Return a layout whose module and task can be used without a mapped axis."""
    return parallel.choose("single", jax.local_devices())


def _new_folder() -> Path:
    """Return a folder under runs/ that does not exist yet, named by the time."""
    if jax.process_count() > 1:
        raise UsageError("expected a workdir that all processes share, got none; try one")
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    names = itertools.chain([now], (f"{now}_{n}" for n in itertools.count(2)))
    return next(path for name in names if not (path := Path("runs", name)).exists())
