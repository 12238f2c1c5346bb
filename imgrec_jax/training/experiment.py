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
"""Called with the step and what was found, by split."""


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
    """What the compiled step is made of.

    Attributes:
        task, optimizer, parallel: its three parts.
        steps_per_call: training steps in one dispatch.
        micro_batches: parts that a batch is worked through in.
        ema_decay: of the moving average of the parameters; 0 keeps none.
        matmul_precision: JAX's name for the precision of products.
        gradient: what is wrapped around the gradient of the global batch.
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
    """What is trained on and scored.

    Attributes:
        train: training batches by step.
        passes: by held-out split, a function that starts one pass over it.
        resident: arrays that lie on the device for the whole run.
        fingerprint: names the data by its content.
        broken: the damaged images that were passed over, by split: row -> why.
    """

    train: TrainFeed
    passes: Mapping[str, Callable[[], Iterator[HostBatch]]]
    resident: HostBatch
    fingerprint: Callable[[], str]
    broken: Callable[[], Mapping[str, Mapping[int, str]]] = dict


@dataclass(frozen=True)
class Events:
    """When something happens, beside the steps themselves.

    Attributes:
        epochs: how often to see each training example.
        eval_every: epochs between two evaluations; the last epoch always has one.
        log_every, histograms_every: in steps; no histograms at 0.
        save_every: in steps; 0: after every epoch.
        save_minutes: between two saves at most, where it is not 0.
        stop_unsaved: end training where a checkpoint cannot be written.
        keep: newest checkpoints to keep.
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
    """What a run tells of itself.

    Attributes:
        facts: what a checkpoint holds beside its arrays, as JSON: the config and `core.facts`.
        card: lines for the start of the run, by name.
        selection: what selects the best step.
        wandb: log to Weights & Biases as well.
        after_evaluation: called after each, in the first process alone; it must not raise.
    """

    facts: Facts
    card: Mapping[str, str]
    selection: Selection
    wandb: bool = False
    after_evaluation: AfterEvaluation = do_nothing


@dataclass(frozen=True)
class Experiment:
    """Everything the loop needs, and nothing that says what kind of task it is.

    Attributes:
        step, data, events, outputs: see there.
        seed: all randomness of the run comes from it.
        schedule: step -> learning rate, for the log.
        init: makes the state before the first step.
        warm_start: puts the parameters of another run into it, where they fit.
        further: what is scored beside the held-out splits.
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
        """The key that all randomness of the run comes from."""
        return jax.random.key(self.seed)

    @property
    def total_steps(self) -> int:
        return self.events.epochs * self.train.steps_per_epoch

    def train_program(self) -> TrainProgram:
        """Return the program of its training steps; it compiles when it is first called."""
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
        """What selects the best step: a score of the val split, so None where there is none."""
        return self.outputs.selection if "val" in self.data.passes else None
