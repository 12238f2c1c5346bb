"""What a run is made of. `build` fills this record from a config; the loop runs it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import optax

from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import Task
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import HostBatch, Parallel

AfterEvaluation = Callable[[int, Mapping[str, Evaluation]], None]
"""Told the step and what was found, by split."""


def do_nothing(step: int, found: Mapping[str, Evaluation]) -> None:
    """Let an evaluation pass: the hook of a run that nobody follows."""
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
class Experiment:
    """Everything the loop needs, and nothing that says what kind of task it is.

    Attributes:
        task, optimizer, parallel: the three parts of the compiled step.
        schedule: step -> learning rate, for the log.
        init: makes the state before the first step.
        warm_start: puts parameters of other weights, or made from training images, into it.
        root_key: the key that all randomness of the run comes from.
        train: training batches by step.
        evaluations: by split, a function that starts one pass over it.
        epochs: how often to see each training example.
        steps_per_call: training steps in one dispatch.
        micro_batches: parts that a batch is worked through in.
        ema_decay: of the moving average of the parameters; 0 keeps none.
        resident: arrays that lie on the device for the whole run.
        log_every, save_every: in steps; saving at 0 means after every epoch.
        save_minutes: between two saves at most, where it is not 0.
        stop_unsaved: end training where a checkpoint cannot be written.
        keep: newest checkpoints to keep.
        about: what a checkpoint says of itself, as JSON: config, labels, input.
        card: lines for the start of the run, by name.
        fingerprint: names the data by its content.
        matmul_precision: JAX's name for the precision of products.
        broken: the damaged pictures that were passed over, by split: row -> why.
        gradient: what is wrapped around the gradient of the global batch.
        eval_every: epochs between two evaluations; the last epoch always has one.
        after_evaluation: told of each, in the first process alone; it must not raise.
        histograms_every: steps between histograms of weights and gradients; 0: none.
        wandb: log to Weights & Biases as well.
    """

    task: Task
    optimizer: optax.GradientTransformation
    parallel: Parallel
    schedule: Callable[[int], Any]
    init: Callable[[], TrainState]
    warm_start: Callable[[TrainState, Callable[[str], None]], TrainState]
    root_key: jax.Array
    train: TrainFeed
    evaluations: Mapping[str, Callable[[], Iterator[HostBatch]]]
    epochs: int
    steps_per_call: int
    micro_batches: int
    ema_decay: float
    resident: HostBatch
    log_every: int
    save_every: int
    save_minutes: float
    stop_unsaved: bool
    keep: int
    about: Mapping[str, Any]
    card: Mapping[str, str]
    fingerprint: Callable[[], str]
    matmul_precision: str
    selection: Selection
    broken: Callable[[], Mapping[str, Mapping[int, str]]] = dict
    gradient: GradientHook = as_it_is
    eval_every: int = 1
    after_evaluation: AfterEvaluation = do_nothing
    histograms_every: int = 0
    wandb: bool = False

    @property
    def total_steps(self) -> int:
        return self.epochs * self.train.steps_per_epoch

    def train_program(self) -> TrainProgram:
        """Return the program of its training steps; it compiles when it is first called."""
        return TrainProgram(
            self.task,
            self.optimizer,
            self.parallel,
            steps_per_call=self.steps_per_call,
            micro_batches=self.micro_batches,
            ema_decay=self.ema_decay,
            resident=self.resident,
            gradient=self.gradient,
        )

    def scores_at(self, step: int) -> bool:
        """Tell whether the held-out splits are scored after so many steps."""
        epochs, rest = divmod(step, self.train.steps_per_epoch)
        return rest == 0 and (epochs % self.eval_every == 0 or epochs == self.epochs)

    @property
    def best(self) -> Selection | None:
        """What selects the best step: a score of the val split, so None where there is none."""
        return self.selection if "val" in self.evaluations else None
