"""Write report.html: during training, at its end, and for a run on disk."""

import contextlib
import importlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from imgrec_jax.build.experiment import AfterEvaluation
from imgrec_jax.config import get_config
from imgrec_jax.core.task import Task
from imgrec_jax.data.sources.source import Splits
from imgrec_jax.runs.trained import Run
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.host.processes import is_first_process
from imgrec_jax.training.logging.tensorboard import Events
from imgrec_jax.training.workdir.files import Workdir
from imgrec_jax.training.workdir.lock import is_locked
from imgrec_jax.training.workdir.provenance import provenance

FILE = "report.html"
_LOGGER = logging.getLogger(__name__)
_REST = 100  # pause after a report, in multiples of its writing time: at most 1 % of a run


class Reporter:
    """Updates the report during training; an error is logged in one line.

    During the run, the report holds curves and scores; slower parts, such as images, are added at
    the end.

    Args:
        workdir: of the run.
        config: as JSON.
    """

    def __init__(self, workdir: Workdir, config: Mapping[str, Any]) -> None:
        self._workdir, self._config = workdir, config
        self._headline = ""
        self._splits: Splits | None = None
        self._best: Selection | None = None
        self._best_value = float("-inf")
        self._found: tuple[int, Mapping[str, Evaluation]] = (-1, {})
        self._environment: dict[str, Any] = {}
        self._next = 0.0  # time of the next write
        self._failed = False

    def follow(self, task: Task, splits: Splits, best: Selection | None) -> AfterEvaluation:
        """Return the callback for evaluations of a run that has begun."""
        self._headline, self._splits, self._best = task.headline.name, splits, best
        return self._evaluated

    def stopped(self) -> None:
        """Write a report with status "stopped", if the run has begun."""
        if self._splits is None or not is_first_process():
            return
        self._failed = True  # the reason is already printed, such as a full disk
        with self._failures_logged():
            ended = self._workdir.read_result() is not None  # no new run has begun since
            if not ended and self._workdir.read_metrics():
                self._write("stopped")

    def finished(self, run: Run) -> None:
        """Write the whole report of a finished run.

        The last evaluation, or the best one, is kept from training. If it predates a resume, it is
        repeated, unless there are other processes, which would have to wait.
        """
        if self._splits is None or not is_first_process():
            return
        with self._failures_logged():
            step, found = self._found
            if step != run.step:
                found = run.score(self._splits) if jax.process_count() == 1 else {}
            story = whole_story(run, self._workdir, "finished", self._splits, found)
            _write(self._workdir, story)
            _write_events(self._workdir, story)

    def _evaluated(self, step: int, found: Mapping[str, Evaluation]) -> None:
        scores = {f"{s}_{name}": v for s, e in found.items() for name, v in e.metrics.items()}
        value = self._best.value(scores) if self._best else 0.0
        if not self._best or value >= self._best_value:
            self._found, self._best_value = (step, found), value
        if time.monotonic() >= self._next:
            self._write("running")

    def _write(self, status: str) -> None:
        with self._failures_logged():
            importlib.import_module("matplotlib.backends.backend_svg")  # once, outside the timing
            from imgrec_jax.report.run_report import Story

            started = time.monotonic()
            self._environment = self._environment or provenance(self._config)
            story = Story(
                **_parts_without_weights(self._workdir, status, self._config),
                headline=self._headline,
                environment=self._environment,
            )
            _write(self._workdir, story)
            self._next = time.monotonic() + _REST * (time.monotonic() - started)

    @contextlib.contextmanager
    def _failures_logged(self) -> Iterator[None]:
        """Keep errors of a report from ending the training; the first one is logged."""
        try:
            yield
        except Exception as error:
            if not self._failed:
                _LOGGER.warning("no %s (%s: %s)", FILE, type(error).__name__, error)
            self._failed = True


def report_on(run: Run, workdir: Workdir) -> Path:
    """Evaluate a run on its own data, rewrite its report, and return the file.

    Raises:
        UserError: its data cannot be read, or the file cannot be written.
    """
    finished = workdir.read_result() is not None
    status = "finished" if finished else "running" if is_locked(workdir.path) else "stopped"
    splits = run.open()
    _write(workdir, whole_story(run, workdir, status, splits, run.score(splits)))
    return workdir.path / FILE


def whole_story(
    run: Run, workdir: Workdir, status: str, splits: Splits, found: Mapping[str, Evaluation]
) -> Any:
    """Return all data of a run's report, as `report.run_report.Story`.

    Args:
        run: at the scored step.
        workdir: its folder.
        status: "running", "stopped" or "finished".
        splits: its data.
        found: its evaluation, by split.
    """
    from imgrec_jax.report.run_report import Split, Story
    from imgrec_jax.runs.galleries import galleries

    report = run.presentation.report
    rows = {name: evaluation.rows for name, evaluation in found.items()}
    return Story(
        **_parts_without_weights(workdir, status, run.config.to_dict()),
        headline=run.task.headline.name,
        splits={name: Split(report(of, run.facts), of) for name, of in rows.items()},
        galleries=galleries(run, splits, rows),
        step=run.step,
    )


def _parts_without_weights(
    workdir: Workdir, status: str, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parts of a story that do not need weights."""
    return {
        "name": workdir.path.name,
        "status": status,
        "config": config,
        "defaults": get_config("base").to_dict(),
        "events": workdir.read_metrics(),
        "result": workdir.read_result() or {},
    }


def _write_events(workdir: Workdir, story: Any) -> None:
    """Write the images of a report for TensorBoard."""
    from imgrec_jax.report.images import sheet

    with contextlib.closing(Events(workdir.path, suffix=".images")) as events:
        of = {gallery.title: sheet(gallery) for gallery in story.galleries if gallery.figures}
        events.images(story.step, of)


def _write(workdir: Workdir, story: Any) -> None:
    from imgrec_jax.report.run_report import run_report

    workdir.write_text(FILE, run_report(story))
