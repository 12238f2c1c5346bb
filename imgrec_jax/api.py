"""The research API: train in a script, restore in a notebook."""

import dataclasses
import functools
import os
from typing import Any

import jax
from ml_collections import ConfigDict

from imgrec_jax import build
from imgrec_jax.config import check
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.task import PyTree, Task
from imgrec_jax.data.source import Splits
from imgrec_jax.training import parallel, run
from imgrec_jax.training.checkpoint import Checkpoints, scored_step
from imgrec_jax.training.evaluate import Evaluation, evaluate
from imgrec_jax.training.workdir import Workdir


def train(
    config: ConfigDict, workdir: str | os.PathLike[str], *, accept_changes: bool = False
) -> run.Outcome:
    """Train what a config says in `workdir`, going on with what lies there.

    The very function behind `python -m imgrec_jax.main`.

    Raises:
        UserError, UsageError: as the command line prints them.
        Interrupted: Ctrl-C; the run has saved.
    """
    check(config)
    return run.run(
        config.to_dict(),
        Workdir(workdir),
        lambda: build.build_experiment(config),
        accept_changes=accept_changes,
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained network with all that is needed to use it; neither data set nor devices.

    Attributes:
        params, model_state: numpy arrays.
        task: over uint8 pictures, with the run's scaling and normalisation.
        config: the resolved config.
        label_names: the classes, in the order of the outputs.
        image_shape: height, width and channels of the pictures it takes.
        step: optimizer steps behind the weights.
        metrics: the scores at that step.
    """

    params: PyTree
    model_state: PyTree
    task: Task
    config: Any
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    step: int
    metrics: dict[str, float]

    def evaluate(self, source: str = "") -> dict[str, Evaluation]:
        """Score all splits but train of a source, by default the run's own.

        A source with one split alone (plain class folders) is scored whole.

        Raises:
            UsageError: the source has other classes.
        """
        splits = self._open(source)
        devices = parallel.choose("auto", jax.local_devices())
        program = parallel.EvalProgram(self.task, devices)
        params, model_state = devices.place((self.params, self.model_state))
        with jax.default_matmul_precision(build.MATMUL_PRECISIONS[self.config.precision]):
            return {
                name: evaluate(
                    program,
                    self.task.compute_metrics,
                    params,
                    model_state,
                    build.one_pass(split, self.config.eval_batch_size, devices),
                )
                for name, split in splits.items()
                if name != "train" or len(splits) == 1
            }

    def _open(self, source: str) -> Splits:
        config: Any = ConfigDict(self.config.to_dict())
        height, width, _ = self.image_shape
        if source:
            config.data.source, config.data.holdout = source, 0.0
            if height == width and source.partition(":")[0] in build.RESIZING_SOURCES:
                config.data.image_size = height
        splits = build.open_source(config)
        first = next(iter(splits.values()))
        if first.image_shape != self.image_shape:
            raise UsageError(
                f"expected pictures of {self.image_shape} as in training, got {first.image_shape} "
                f"in {config.data.source}; try pictures of that size, or folder:PATH for any size"
            )
        names = first.label_names
        if names != self.label_names:
            raise UsageError(
                f"expected the classes of the run ({', '.join(self.label_names)}), got "
                f"{', '.join(names)} in {config.data.source}; try data with the same class names"
            )
        return splits


def load(path: str | os.PathLike[str], step: int | None = None) -> Run:
    """Restore a run from its workdir or from one of its checkpoint folders.

    From a workdir it is the step that `result.json` scored, else the newest.

    Raises:
        UserError: there is no run, no such step, or a damaged checkpoint.
    """
    workdir = Workdir(path)
    if workdir.path.parent.name == "checkpoints" and workdir.path.name.isdecimal():
        step, workdir = int(workdir.path.name), Workdir(workdir.path.parents[1])
    if not workdir.has_checkpoints():
        raise UserError(
            f"expected a run with checkpoints in {workdir.path}, got none; "
            "try the --workdir that the run was trained in"
        )
    with Checkpoints(workdir.checkpoints, read_only=True) as checkpoints:
        steps = checkpoints.steps
        step = scored_step(workdir, checkpoints) if step is None else step
        if step not in steps:
            raise UserError(
                f"expected a checkpoint of step {step} in {workdir.checkpoints}, "
                f"got steps {steps}; try one of these"
            )
        meta = checkpoints.read_meta(step)
        config: Any = ConfigDict(meta["config"])
        devices = parallel.choose("auto", jax.local_devices())
        task = build.build_task(config, meta, devices, build.build_augmentation(""))
        optimizer = build.build_optimizer(config, build.build_schedule(config, total_steps=1))
        like = jax.eval_shape(
            functools.partial(build.initial_state, config.seed, task, optimizer, meta)
        )
        state, _ = checkpoints.restore(step, like)
    return Run(
        params=state.params,
        model_state=state.model_state,
        task=task,
        config=config,
        label_names=tuple(meta["label_names"]),
        image_shape=tuple(meta["image_shape"]),
        step=int(state.step),
        metrics=dict(meta["metrics"]),
    )
