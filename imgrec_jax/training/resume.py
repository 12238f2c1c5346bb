"""Resume a run: check that its newest checkpoint fits this experiment."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.nested import Settings, with_new_names
from imgrec_jax.training.checkpoints.orbax import Checkpoints, Meta
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host.processes import is_first_process, meet
from imgrec_jax.training.workdir.config_changes import Change, record_changes
from imgrec_jax.training.workdir.files import Workdir

Schedules = Callable[[Settings, int], Callable[[int], Any]]
"""`(config, total steps) -> step -> learning rate`."""


def begun_config(workdir: Workdir, print_line: Callable[[str], None]) -> Settings | None:
    """Return the config that a run has begun with, or None if it has no checkpoints.

    It is that of `config.json`; if that is missing or damaged, that of the newest checkpoint.
    Without a checkpoint, any config is accepted.
    """
    if not workdir.has_checkpoints():
        return None
    try:
        config, why = workdir.read_config(), "it is missing"
    except UserError as error:
        config, why = None, str(error).partition("; try")[0]
    newest = _newest(workdir) if config is None else None
    if newest is None:  # problems of checkpoints are reported when they are restored
        return config
    step, meta = newest
    print_line(f"WARNING: config.json is taken from the checkpoint of step {step:,}: {why}")
    return with_new_names(meta["config"])


def accept(
    experiment: Experiment,
    workdir: Workdir,
    before: Settings,
    changes: Sequence[Change],
    schedules: Schedules | None,
    print_line: Callable[[str], None],
) -> None:
    """Print and record the changes against the config `before`.

    If the learning rate may have changed, print it for the step of the newest checkpoint, by the
    old and the new schedule.

    Raises:
        UsageError: the run was trained on other classes, or for more epochs than requested.
    """
    newest = _newest(workdir)
    if newest is None:  # problems of checkpoints are reported when they are restored
        return
    step, meta = newest
    _check_fits(experiment, step, meta)
    for change in changes:
        print_line(f"{'changed':>11}  {change} (from step {step:,} on)")
    if schedules and any(c.key == "epochs" or c.key.startswith("optim.") for c in changes):
        old = schedules(before, before["epochs"] * experiment.train.steps_per_epoch)
        rates = (f"{float(rate(step)):.6g}" for rate in (old, experiment.schedule))
        print_line(f"{'rate':>11}  {' -> '.join(rates)} at step {step:,}")
    meet("the changes are known")
    if is_first_process():
        record_changes(workdir.path, step, changes)


def _newest(workdir: Workdir) -> tuple[int, Meta] | None:
    """Return the newest step with readable metadata, and that metadata."""
    with Checkpoints(workdir.checkpoints, read_only=True) as checkpoints:
        for step in reversed(checkpoints.steps):
            with contextlib.suppress(UserError):
                return step, checkpoints.read_meta(step)
    return None


def _check_fits(experiment: Experiment, step: int, meta: Meta) -> None:
    """Raise if a run cannot resume from a checkpoint, although its parameters may fit."""
    saved, here = (about.get("label_names", []) for about in (meta, experiment.outputs.facts))
    if saved != here:
        raise UsageError(
            f"expected the classes that the run was trained on ({', '.join(saved)}), got "
            f"{', '.join(here)}; try its own data, or another --workdir"
        )
    done = -(-step // experiment.train.steps_per_epoch)
    if step > experiment.total_steps:
        raise UsageError(
            f"expected epochs of {done} or more, which the run has completed, got "
            f"{experiment.events.epochs}; try more, or another --workdir"
        )
