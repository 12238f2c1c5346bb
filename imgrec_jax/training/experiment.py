"""Records that define a run. `build` fills them from a config; the training loop runs them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import optax

from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import Facts, Task
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.evaluators import Evaluator, split_evaluators
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import HostBatch, Parallel

AfterEvaluation = Callable[[int, Mapping[str, Evaluation]], None]
"""Called with the step and the evaluations by split."""


def do_nothing(step: int, found: Mapping[str, Evaluation]) -> None:
    """No-op evaluation callback."""
    del step, found


class TrainFeed(Protocol):
    """Training batches as a function of the step."""

    @property
    def batch_size(self) -> int: ...

    @property
    def steps_per_epoch(self) -> int: ...

    def __call__(self, step: int, steps: int = 1) -> HostBatch: ...

    def examples(self, step: int) -> int: ...


@dataclass(frozen=True)
class Step:
    """The components of the compiled step.

    Attributes:
        task, optimizer, parallel: its three parts.
        steps_per_call: training steps in one dispatch.
        micro_batches: number of parts into which a batch is split.
        ema_decay: of the moving average of the parameters; 0 for none.
        matmul_precision: JAX's name for the precision of matrix products.
        gradient: wrapper around the gradient of the global batch.
    """

    task: Task
    optimizer: optax.GradientTransformation
    parallel: Parallel
    steps_per_call: int
    micro_batches: int
    ema_decay: float
    matmul_precision: str
    gradient: GradientHook = as_it_is


@dataclass(frozen=True)
class Data:
    """The data for training and evaluation.

    Attributes:
        train: training batches by step.
        passes: by held-out split, a function that starts one pass over it.
        resident: arrays that stay on the device during the run.
        fingerprint: hash of the content of the data.
        broken: the damaged images that were skipped, by split: row -> reason.
    """

    train: TrainFeed
    passes: Mapping[str, Callable[[], Iterator[HostBatch]]]
    resident: HostBatch
    fingerprint: Callable[[], str]
    broken: Callable[[], Mapping[str, Mapping[int, str]]] = dict


@dataclass(frozen=True)
class Events:
    """Intervals of evaluation, logging and checkpoints.

    Attributes:
        epochs: passes over the training examples.
        eval_every: epochs between two evaluations; the last epoch always has one.
        log_every, histograms_every: in steps; 0: no histograms.
        save_every: in steps; 0: after every epoch.
        save_minutes: longest time between two saves; 0: no limit.
        stop_unsaved: stop training if a checkpoint cannot be written.
        keep: number of newest checkpoints to keep.
    """

    epochs: int
    eval_every: int
    log_every: int
    histograms_every: int
    save_every: int
    save_minutes: float
    stop_unsaved: bool
    keep: int


@dataclass(frozen=True)
class Outputs:
    """The outputs of a run.

    Attributes:
        facts: metadata of a checkpoint, as JSON: the config and `core.facts`.
        card: lines printed at the start of the run, by name.
        selection: selection of the best step.
        wandb: also log to Weights & Biases.
        after_evaluation: called after each evaluation, only in the first process; must not raise.
    """

    facts: Facts
    card: Mapping[str, str]
    selection: Selection
    wandb: bool = False
    after_evaluation: AfterEvaluation = do_nothing


@dataclass(frozen=True)
class Experiment:
    """Everything that the training loop needs, independent of the kind of task.

    Attributes:
        step, data, events, outputs: see these classes.
        seed: source of all randomness of the run.
        schedule: step -> learning rate, for the log.
        init: returns the state before the first step.
        warm_start: loads the parameters of another run into it, where they fit.
        further: evaluators beside those of the held-out splits.
    """

    step: Step
    data: Data
    events: Events
    outputs: Outputs
    seed: int
    schedule: Callable[[int], Any]
    init: Callable[[], TrainState]
    warm_start: Callable[[TrainState, Callable[[str], None]], TrainState]
    further: Sequence[Evaluator] = field(default=())

    @property
    def task(self) -> Task:
        return self.step.task

    @property
    def parallel(self) -> Parallel:
        return self.step.parallel

    @property
    def train(self) -> TrainFeed:
        return self.data.train

    @property
    def root_key(self) -> jax.Array:
        """The key from which all randomness of the run derives."""
        return jax.random.key(self.seed)

    @property
    def total_steps(self) -> int:
        return self.events.epochs * self.train.steps_per_epoch

    def train_program(self) -> TrainProgram:
        """Return the program of the training steps; it compiles on its first call."""
        step = self.step
        return TrainProgram(
            step.task,
            step.optimizer,
            step.parallel,
            steps_per_call=step.steps_per_call,
            total_steps=self.total_steps,
            micro_batches=step.micro_batches,
            ema_decay=step.ema_decay,
            resident=self.data.resident,
            gradient=step.gradient,
        )

    def evaluators(self) -> list[Evaluator]:
        """Return all evaluators, those of held-out splits first."""
        splits = split_evaluators(
            self.task, self.parallel, self.data.passes, every=self.events.eval_every, seed=self.seed
        )
        return [*splits, *self.further]

    @property
    def best(self) -> Selection | None:
        """The selection of the best step by a score of the val split; None without val."""
        return self.outputs.selection if "val" in self.data.passes else None
