"""A run from its workdir's point of view: start, resume, or say that it is done."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.keys import flatten
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.loop import Progress, count_parameters, fit
from imgrec_jax.training.provenance import peak_memory_bytes, provenance
from imgrec_jax.training.workdir import Workdir

Config = Mapping[str, Any]
_FREE = ("log.", "checkpoint.", "parallel.")  # keys that do not change what is learned


@dataclass(frozen=True)
class Outcome:
    """What a call of `run` ended with: the result file, and whether this call trained."""

    result: dict[str, Any]
    trained: bool


def run(
    config: Config,
    workdir: Workdir,
    build: Callable[[], Experiment],
    *,
    accept_changes: bool = False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Train in `workdir`, go on with what lies there, or return its finished result.

    Args:
        config: the resolved config, as JSON.
        workdir: where the run lives.
        build: makes the experiment; called only when there is something to train.
        accept_changes: go on although the config has changed.
        say: prints a line.

    Raises:
        UsageError: the workdir holds a run of another config.
    """
    started = time.perf_counter()
    workdir.create()
    before = workdir.read_json("config.json")
    # A command that failed before its first checkpoint binds nobody.
    begun = before is not None and workdir.has_checkpoints()
    changes = differences(before, config) if before is not None and begun else []
    if changes and not accept_changes:
        raise UsageError(_changed(workdir, changes))
    result = workdir.read_json("result.json")
    if begun and result is not None and not changes:
        return Outcome(result, trained=False)

    experiment = build()
    state = experiment.init()
    for line in _card(experiment, workdir, count_parameters(state)):
        say(line)
    workdir.write_json("config.json", config)
    workdir.remove("result.json")  # until this run is finished it has none
    start = time.perf_counter() - started
    state, progress = fit(experiment, workdir, state, say)
    seconds = {"start": start, **progress.seconds}
    seconds["total"] = sum(seconds.values())  # of all calls, where the run was stopped between
    result = _result(experiment, workdir, config, state, progress, seconds)
    workdir.write_json("result.json", result)
    return Outcome(result, trained=True)


def differences(before: Config, after: Config) -> list[str]:
    """Return one line for each key whose value differs and may change what is learned."""
    old, new = flatten(before), flatten(after)
    return [
        f"  {key}: {old.get(key, '(none)')!r} -> {new.get(key, '(none)')!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(_FREE)
    ]


def _changed(workdir: Workdir, changes: list[str]) -> str:
    name = workdir.path
    free = next(
        p for n in range(2, 10_000) if not (p := name.with_name(f"{name.name}_{n}")).exists()
    )
    return "\n".join(
        [
            f"expected the config of the run in {name}, got a changed one:",
            *changes,
            f"try --workdir={free} for a new run, or --resume=accept-changes to go on with it",
        ]
    )


def _card(experiment: Experiment, workdir: Workdir, parameters: int) -> list[str]:
    """Return the lines that a run starts with."""
    parallel = experiment.parallel
    devices = f"{len(parallel.devices)} x {parallel.devices[0].device_kind}"
    rows = {
        **experiment.card,
        "parameters": f"{parameters:,}",
        "devices": f"{devices} ({parallel.mode})",
        "steps": f"{experiment.total_steps:,} ({experiment.epochs} epochs of "
        f"{experiment.train.steps_per_epoch:,})",
        "workdir": str(workdir.path),
    }
    return [f"{name:>11}  {text}" for name, text in rows.items()]


def _result(
    experiment: Experiment,
    workdir: Workdir,
    config: Config,
    state: TrainState,
    progress: Progress,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return the content of result.json."""
    parallel = experiment.parallel
    return {
        "status": "finished",
        **_scores(experiment, workdir),
        "epochs": experiment.epochs,
        "examples_per_second": progress.examples / max(seconds["train"], 1e-9),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "peak_memory_bytes": peak_memory_bytes(),
        "device": parallel.devices[0].device_kind,
        "devices": len(parallel.devices),
        "processes": jax.process_count(),
        "parallel_mode": parallel.mode,
        "parameters": count_parameters(state),
        "seed": config["seed"],
        "data_fingerprint": experiment.fingerprint(),
        "workdir": str(workdir.path),
        **provenance(config),
    }


def _scores(experiment: Experiment, workdir: Workdir) -> dict[str, Any]:
    """Return the headline: the best step by the val split, or the last step where there is none.

    A best step picked on the test set is given beside it, and called what it is.
    """
    last = {"kind": "eval", "step": experiment.total_steps}
    events = [event for event in workdir.read_metrics() if event["kind"] == "eval"] or [last]
    chosen, selected_on, optimistic = events[-1], "last", {}
    if experiment.best_metric:
        chosen = _highest(events, experiment.best_metric)
        selected_on = experiment.best_metric
    elif f"test_{experiment.task.headline}" in chosen:
        name = f"test_{experiment.task.headline}"
        best = _highest(events, name)
        optimistic = {"optimistic_best_on_test": {"step": best["step"], name: best[name]}}
    metrics = {name: value for name, value in chosen.items() if name not in {"kind", "step"}}
    return {"step": chosen["step"], "selected_on": selected_on, "metrics": metrics, **optimistic}


def _highest(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return max(events, key=lambda event: (event[name], event["step"]))
