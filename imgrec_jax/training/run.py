"""Start a run in a workdir, resume it, or return its finished result."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.nested import Settings
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.text_table import listing, terminal_width
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host.processes import is_first_process, meet
from imgrec_jax.training.loop import fit
from imgrec_jax.training.progress import Progress, count_parameters
from imgrec_jax.training.resume import Schedules, accept, begun_config
from imgrec_jax.training.workdir.config_changes import check_changes, find_changes
from imgrec_jax.training.workdir.damaged_images import broken_file, count_broken, note_broken
from imgrec_jax.training.workdir.files import Workdir
from imgrec_jax.training.workdir.lock import workdir_lock
from imgrec_jax.training.workdir.provenance import peak_memory_bytes, provenance

_FILES, _FILES_OF_A_PROCESS = 10, 7  # of a checkpoint written by Orbax


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call of `run`: the result file, and whether this call trained."""

    result: dict[str, Any]
    trained: bool


def run(
    config: Settings,
    workdir: Workdir,
    build: Callable[[], Experiment],
    *,
    schedules: Schedules | None = None,
    defaults: Settings | None = None,
    accept_changes: bool = False,
    print_line: Callable[[str], None] = print,
) -> Outcome:
    """Train in `workdir`, resume the run there, or return its finished result.

    Args:
        config: the resolved config, as JSON.
        workdir: the folder of the run.
        build: returns the experiment; called only if there is something to train.
        schedules: the learning rate by config, to report the effect of a changed config.
        defaults: values of keys that are newer than the run.
        accept_changes: resume with a changed config, in keys that may change.
        print_line: prints a line.

    Raises:
        UsageError: the workdir holds a run of another config.
        UserError: another process trains there.
    """
    started = time.perf_counter()
    print_line = print_line if is_first_process() else _ignore_line
    workdir.create()
    lock = workdir_lock(workdir.path) if is_first_process() else contextlib.nullcontext()
    with lock:
        begun = begun_config(workdir, print_line)
        changes = find_changes(begun, config, defaults or {}) if begun else []
        check_changes(workdir.path, changes, accepted=accept_changes)
        result = _whole_result(workdir, print_line)
        if begun and result is not None and not changes:
            return Outcome(result, trained=False)
        experiment = build()
        if begun:
            accept(experiment, workdir, begun, changes, schedules, print_line)
        return _train(experiment, config, workdir, started, print_line)


def _whole_result(workdir: Workdir, print_line: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the result of a finished run; a damaged one is made again from its checkpoint."""
    try:
        return workdir.read_result()
    except UserError as error:
        print_line(f"WARNING: {str(error).partition('; try')[0]}; it is made again")
        return None


def _train(
    experiment: Experiment,
    config: Settings,
    workdir: Workdir,
    started: float,
    print_line: Callable[[str], None],
) -> Outcome:
    state = experiment.init()
    for line in _card(experiment, workdir, state):
        print_line(line)
    meet("the workdir is read")
    if not workdir.has_checkpoints():
        workdir.remove(broken_file())  # of a previous command that failed
    if is_first_process():
        workdir.write_json("config.json", config)
        workdir.remove("result.json")  # only a finished run has one
    start = time.perf_counter() - started
    try:
        state, progress = fit(experiment, workdir, state, print_line)
    finally:
        note_broken(workdir, experiment.data.broken())
    meet("damaged images are logged")
    seconds = {"start": start, **progress.seconds}
    seconds["total"] = sum(seconds.values())  # over all calls, if the run was stopped and resumed
    if is_first_process():
        result = describe_result(experiment, workdir, config, state, progress, seconds)
        workdir.write_json("result.json", result)
    meet("the result is written")
    return Outcome(workdir.read_result() or {}, trained=True)


def _card(experiment: Experiment, workdir: Workdir, state: TrainState) -> list[str]:
    """Return the lines printed at the start of a run."""
    parallel = experiment.parallel
    devices = f"{len(parallel.devices)} x {parallel.devices[0].device_kind}"
    if parallel.processes > 1:
        devices += f" in {parallel.processes} processes"
    if parallel.mode == "mesh":
        devices += f", data {parallel.mesh.shape['data']} x fsdp {parallel.mesh.shape['fsdp']}"
    examples = experiment.train.batch_size // len(parallel.devices)
    megabytes = parallel.bytes_per_device(state) / 1e6
    rows = {
        **experiment.outputs.card,
        "parameters": f"{count_parameters(state):,}",
        "devices": f"{devices} ({parallel.mode})",
        "per device": f"{examples} examples of a batch, {megabytes:,.1f} MB of state",
        "checkpoints": _checkpoints(experiment, state),
        "steps": f"{experiment.total_steps:,} ({experiment.events.epochs} epochs of "
        f"{experiment.train.steps_per_epoch:,})",
        "workdir": str(workdir.path),
    }
    return listing(rows, terminal_width())


def _checkpoints(experiment: Experiment, state: TrainState) -> str:
    """Return a line on size, number and interval of checkpoints."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) / 1e6
    kept = experiment.events.keep + bool(experiment.best)
    events = experiment.events
    when = f"every {events.save_every:,} steps" if events.save_every else "every epoch"
    if events.save_minutes:
        when += f" and {events.save_minutes:g} minutes"
    files = _FILES + _FILES_OF_A_PROCESS * experiment.parallel.processes
    return f"{size:,.1f} MB in about {files} files each, {when}; {kept} kept: {kept * size:,.1f} MB"


def describe_result(
    experiment: Experiment,
    workdir: Workdir,
    config: Settings,
    state: TrainState,
    progress: Progress,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return the content of result.json."""
    parallel = experiment.parallel
    return {
        "status": "finished",
        **_scores(experiment, workdir),
        "epochs": experiment.events.epochs,
        "examples_per_second": experiment.train.examples(progress.step)
        / max(seconds["train"], 1e-9),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_memory_bytes": peak_memory_bytes(),
        "device": parallel.devices[0].device_kind,
        "devices": len(parallel.devices),
        "processes": parallel.processes,
        "parallel_mode": parallel.mode,
        "parameters": count_parameters(state),
        "seed": config["seed"],
        "data_fingerprint": experiment.data.fingerprint(),
        "broken_images": count_broken(workdir, parallel.processes),
        "workdir": str(workdir.path),
        **provenance(config),
    }


def _scores(experiment: Experiment, workdir: Workdir) -> dict[str, Any]:
    """Return the headline: the best step by the val split, or the last step without val.

    A score that chose its step is labelled as optimistic: of val, which chose the headline's step,
    or, reported separately, the best of test.
    """
    last = {"kind": "eval", "step": experiment.total_steps}
    events = [event for event in workdir.read_metrics() if event["kind"] == "eval"] or [last]
    chosen, selected_on, optimistic = events[-1], "last", {}
    headline = experiment.task.headline
    if best := experiment.best:
        scored = [event for event in events if best.name in event] or events
        chosen = max(scored, key=lambda event: (best.value(event), event["step"]))
        selected_on = best.name
        if best.name in chosen:
            optimistic = _optimistic(best.name, chosen)
    elif (name := f"test_{headline.name}") in chosen:
        sign = 1 if headline.higher_is_better else -1
        scored = [event for event in events if name in event]
        peak = max(scored, key=lambda event: (sign * event[name], event["step"]))
        optimistic = _optimistic(name, peak)
    metrics = {name: value for name, value in chosen.items() if name not in {"kind", "step"}}
    return {"step": chosen["step"], "selected_on": selected_on, "metrics": metrics, **optimistic}


def _optimistic(name: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a score that was maximised over the steps."""
    split = name.partition("_")[0]
    return {f"optimistic_best_on_{split}": {"step": event["step"], name: event[name]}}


def _ignore_line(line: str) -> None:
    """Print nothing: only the first process prints."""
    del line
