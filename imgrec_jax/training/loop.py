"""The training loop, the same for every task."""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from imgrec_jax.core import metrics
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.evaluators import by_split
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host.processes import any_process, is_first_process
from imgrec_jax.training.host.signals import Interrupted, stop_requests
from imgrec_jax.training.logging.log import Log, SilentLog
from imgrec_jax.training.progress import Progress, begin_or_restore, checkpoint_meta, passed
from imgrec_jax.training.step.parallel import all_finite, fetch, savable
from imgrec_jax.training.workdir.files import Workdir

_LOGGER = logging.getLogger(__name__)
_CALLS_BETWEEN_QUESTIONS = 8


def fit(
    experiment: Experiment, workdir: Workdir, state: TrainState, print_line: Callable[[str], None]
) -> tuple[TrainState, Progress]:
    """Train `state` to the last epoch, starting from the newest checkpoint if there is one.

    Raises:
        Interrupted: SIGINT or SIGTERM arrived; a checkpoint was saved at a call boundary.
        UserError: the loss is not finite, the last state cannot be saved, a device is out of
            memory, or checkpoints exist but none is readable.
    """
    with (
        jax.default_matmul_precision(experiment.step.matmul_precision),
        Checkpoints(
            workdir.checkpoints, keep=experiment.events.keep, best=experiment.best
        ) as checkpoints,
        stop_requests() as stop_requested,
    ):
        state, progress = begin_or_restore(experiment, checkpoints, state, print_line)
        log = _open_log(experiment, workdir, progress) if is_first_process() else SilentLog()
        with contextlib.closing(log), _memory_errors(experiment):
            loop = _Loop(experiment, checkpoints, log, progress)
            while progress.step < experiment.total_steps:
                state = loop.call(state)
                loop.evaluate(state)
                stop, save = loop.any_request(stop_requested(), loop.minutes_over())
                last = progress.step == experiment.total_steps
                if stop or save or last or loop.save_due():
                    loop.save(state, needed=stop or last)
                if stop and not last:
                    checkpoints.wait()
                    raise Interrupted(progress.step)
            log.finish()
    return state, progress


@contextlib.contextmanager
def _memory_errors(experiment: Experiment) -> Iterator[None]:
    """Turn an out-of-memory error of a device into one line that suggests what to halve."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        devices, micro = len(experiment.parallel.devices), experiment.step.micro_batches
        examples = experiment.train.batch_size // (devices * micro)
        raise UserError(
            f"expected room for {examples} examples on each device at once, got 'out of memory'; "
            f"try --config.micro_batches={2 * micro}, which halves them and leaves the batch as it "
            "is, or a smaller batch_size"
        ) from error


def _open_log(experiment: Experiment, workdir: Workdir, progress: Progress) -> Log:
    workdir.forget_metrics_after(progress.step, progress.scores)
    return Log(
        workdir,
        first_step=progress.step,
        total_steps=experiment.total_steps,
        steps_per_epoch=experiment.train.steps_per_epoch,
        wandb=experiment.outputs.wandb,
    )


class _Loop:
    """The compiled programs and their shared state between calls."""

    def __init__(
        self,
        experiment: Experiment,
        checkpoints: Checkpoints,
        log: Log | SilentLog,
        progress: Progress,
    ) -> None:
        self._experiment, self._checkpoints = experiment, checkpoints
        self._log, self._progress = log, progress
        self._train = experiment.train_program()
        self._evaluators = experiment.evaluators()
        self._root = experiment.parallel.replicate(experiment.root_key)
        self._waiting: deque[tuple[int, Any, Any]] = deque()  # next step, sums, rate to log
        self._rate_at = jax.jit(experiment.schedule)
        self._scores: dict[str, float] = {}
        self._saved_at, self._saved_when = progress.step, time.monotonic()
        self._timed_until = time.perf_counter()
        self._rate_since = (progress.step, progress.seconds["train"])
        self._calls = 0

    def call(self, state: TrainState) -> TrainState:
        """Dispatch the next steps, then collect the measurements of the previous call.

        Sums are read one call late, so that the device never waits for the log. Calls never
        cross the end of an epoch.
        """
        progress, per_epoch = self._progress, self._experiment.train.steps_per_epoch
        steps = min(self._experiment.step.steps_per_call, per_epoch - progress.step % per_epoch)
        batch = self._experiment.train(progress.step, steps)
        self._record_time("train")
        traces = self._train.traces
        state, sums = self._train(state, batch, self._root)
        self._record_time("train" if self._train.traces == traces else "compile")
        first, progress.step = progress.step, progress.step + steps
        self._waiting.append((progress.step, sums, self._rate_to_log(first)))
        self._calls += 1
        self._scores = {}
        self._collect(leave=1)
        self._count(state, first)
        return state

    def _rate_to_log(self, first: int) -> jax.Array | None:
        """Return the learning rate if the steps from `first` on have reached a log event.

        It is dispatched with the steps; later, it would be computed only after the next call.
        """
        step = self._progress.step
        epoch_ends = step % self._experiment.train.steps_per_epoch == 0
        if not epoch_ends and not passed(self._experiment.events.log_every, first, step):
            return None
        return self._rate_at(jax.device_put(np.int32(step - 1)))

    def _count(self, state: TrainState, first: int) -> None:
        """Log histograms of the weights and of the next gradient, if they are due."""
        every, step = self._experiment.events.histograms_every, self._progress.step
        if not every or not passed(every, first, step):
            return
        self._record_time("train")
        batch = self._experiment.train(min(step, self._experiment.total_steps - 1))
        found = fetch(self._train.histograms(state, batch, self._root))
        self._log.histograms(step, found)
        self._record_time("eval")

    def any_request(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Return whether any process wants to stop or to save; the same result in all processes.

        With several processes this check drains the queue of steps, so it happens only every few
        calls and at the end of an epoch.
        """
        if self._experiment.parallel.processes == 1:
            return stop, save
        if self._calls % _CALLS_BETWEEN_QUESTIONS and not self._scores:
            return False, False
        self._collect(leave=0)
        return any_process(stop), any_process(save)

    def minutes_over(self) -> bool:
        """Return whether the last save is longer ago than `save_minutes`."""
        minutes = self._experiment.events.save_minutes
        return 0 < minutes < (time.monotonic() - self._saved_when) / 60

    def evaluate(self, state: TrainState) -> None:
        """Run the evaluators that are due, if an epoch has ended, and log their scores."""
        epoch, rest = divmod(self._progress.step, self._experiment.train.steps_per_epoch)
        last = self._experiment.events.epochs
        due = [] if rest else [one for one in self._evaluators if one.due(epoch, last)]
        if not due:
            return
        self._collect(leave=0)
        self._record_time("train")
        results: list[Mapping[str, Evaluation]] = []
        for evaluator in due:
            results.append(evaluator.run(*state.weights()))
            self._record_time(evaluator.books or evaluator.name)
        found = by_split(results)
        self._scores = {
            f"{split}_{name}": score
            for split, evaluation in found.items()
            for name, score in evaluation.metrics.items()
        }
        self._log.evaluation(self._progress.step, self._scores)
        if is_first_process():
            self._experiment.outputs.after_evaluation(self._progress.step, found)
        self._record_time("eval")

    def save_due(self) -> bool:
        """Return whether the checkpoint interval (an epoch if it is 0) has passed.

        If the best step is selected, each evaluated step is saved, since any may be the best.
        """
        every = self._experiment.events.save_every or self._experiment.train.steps_per_epoch
        return self._is_candidate() or passed(every, self._saved_at, self._progress.step)

    def _is_candidate(self) -> bool:
        """Return whether this step may be the best one: the val split was evaluated at it."""
        return bool(self._experiment.best) and any(s.startswith("val_") for s in self._scores)

    def save(self, state: TrainState, *, needed: bool) -> None:
        """Save the state with all measurements up to it.

        If the write fails, training continues unless the save is `needed`, the run is set to
        stop then, or there are several processes, which must stay in step.
        """
        self._collect(leave=0)
        self._record_time("train")
        meta = checkpoint_meta(self._experiment, self._scores, self._progress)
        # The update after the last finite loss may have made the parameters non-finite.
        finite = bool(fetch(all_finite(state.params)))
        self._record_time(
            "save" if self._checkpoints.steps else "compile"
        )  # the first save compiles
        self._check_finite(self._progress.step, finite)
        needed = (
            needed
            or self._experiment.events.stop_unsaved
            or self._experiment.parallel.processes > 1
        )
        try:
            candidate = self._scores if self._is_candidate() else {}
            self._checkpoints.save(savable(state), meta, candidate)
        except UserError as error:
            if needed:
                raise
            _LOGGER.warning(
                "%s; step %d is not saved, training continues", error, self._progress.step
            )
        self._saved_at, self._saved_when = self._progress.step, time.monotonic()
        self._record_time("save")

    def _collect(self, leave: int) -> None:
        """Add up the sums of all calls but the last `leave`, and log if an event is due."""
        while len(self._waiting) > leave:
            following, sums, rate = self._waiting.popleft()
            sums, rate = fetch((sums, rate))
            self._check_finite(following, all(np.isfinite(s).all() for s in sums.values()))
            self._progress.window = metrics.add(self._progress.window, sums)
            if rate is not None:
                self._log_window(following, float(str(rate)))  # 0.001, not 0.0010000000475

    def _log_window(self, step: int, rate: float) -> None:
        self._record_time("train")
        progress, examples = self._progress, self._experiment.train.examples
        scores = self._experiment.task.compute_metrics(progress.window, {})
        since, seconds = self._rate_since
        processed = examples(progress.step) - examples(since)
        trained = max(progress.seconds["train"] - seconds, 1e-9)
        event = {f"train_{name}": score for name, score in scores.items()}
        event["learning_rate"] = rate
        event["images_per_second"] = processed / trained
        self._log.train(step, event)
        self._rate_since = (progress.step, progress.seconds["train"])
        progress.window = {}

    def _check_finite(self, step: int, finite: bool) -> None:
        if finite:
            return
        saved = self._checkpoints.steps
        raise UserError(
            f"expected a finite loss, got NaN or infinity at step {step} (last good checkpoint: "
            f"{f'step {saved[-1]}' if saved else 'none'}); try a lower optim.learning_rate"
        )

    def _record_time(self, what: str) -> None:
        """Add the time since the last booking to the account `what`."""
        now = time.perf_counter()
        seconds = self._progress.seconds
        seconds[what] = seconds.get(what, 0.0) + now - self._timed_until
        self._timed_until = now
