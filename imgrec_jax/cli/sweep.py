"""The verb `sweep`: train one config with many seeds and settings, and tabulate the results."""

import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgrec_jax.cli.arguments import Parser, device_flags, folder
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.errors import STOPPED, UsageError, UserError
from imgrec_jax.core.ranges import one_of, whole
from imgrec_jax.sweeps.grid import (
    Ended,
    Trial,
    gpu_numbers,
    plan,
    read_grid,
    run_here,
    submit_to_slurm,
)
from imgrec_jax.sweeps.results import choose_metrics, group_by_config, read_record
from imgrec_jax.sweeps.table import remarks, write
from imgrec_jax.training.host.signals import Interrupted

_LONGEST_STEP = 0.05
"""Seconds on a CPU. One program for all runs saves only the overhead of short steps; with longer
steps, measuring would take longer than it could save."""
_STOPPED_LINE = "\nStopped and saved. The same command resumes it."


def main(arguments: Sequence[str]) -> int:
    """Run the sweep and return the exit status."""
    options, overrides = _parser().parse_known_args(list(arguments))
    workdir = Path(options.workdir or f"runs/{Path(options.config).stem}_sweep")
    try:
        grid = read_grid(options.grid)
        trials = plan(options.config, workdir, grid, options.seeds, overrides)
        if options.backend == "slurm":
            jobs = submit_to_slurm(trials, options.sbatch)
            print(f"Submitted {len(jobs)} jobs: {', '.join(jobs)}")
            print(f"Next, when they are done: python -m imgrec_jax report {_folders(trials)}")
            return 0
        status = None
        if options.backend in {"auto", "vmap"}:
            status = _run_as_one(trials, workdir, options.backend == "auto", options.device)
        if status is None:
            status = _run_here(trials, options.jobs)
        if status != STOPPED:
            _show(trials, [name for name in options.metrics.split(",") if name])
        return status
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status


def _parser() -> Parser:
    parser = Parser(
        prog="python -m imgrec_jax sweep",
        parents=[device_flags()],
        description="Train a config with several seeds and with each combination of the values of "
        "a grid. Print the mean and standard deviation of each cell, and its "
        "difference from the first cell, paired by seed. The same command resumes a "
        "stopped sweep. "
        "Other flags are --config.KEY=VALUE, for all runs.",
    )
    parser.add_argument("--config", required=True, help="a config file or the name of one")
    parser.add_setting("--seeds", whole(1, 10_000)(3), help="number of seeds per cell: 0, 1, ...")
    parser.add_argument("--grid", action="append", default=[], metavar="KEY=VALUE,VALUE")
    parser.add_read("--workdir", folder, help="default: runs/<name of the config>_sweep")
    parser.add_setting(
        "--backend",
        one_of("auto", "local", "slurm", "vmap")("auto"),
        help="vmap: train all runs in one program; they may differ in seed, optim.learning_rate "
        "and numbers of the optimizer. local: one process per run. auto: time a few steps of "
        "both and use the faster one",
    )
    parser.add_setting(
        "--jobs", whole(0, 1024)(0), help="local runs at once; 0: one per GPU, or per CPU core"
    )
    parser.add_read(
        "--sbatch", _words, default=(), help="flags of sbatch, such as '--gpus-per-node=8'"
    )
    parser.add_argument(
        "--metrics", default="", help="metrics of the table: test_accuracy,test_loss"
    )
    return parser


def _words(text: str) -> list[str]:
    """Return the flags of `--sbatch`, split as a shell splits them."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"expected --sbatch as a shell reads flags, got {text!r} ({error}); "
            "try --sbatch='--gpus-per-node=8'"
        ) from error


def _run_as_one(trials: Sequence[Trial], workdir: Path, automatic: bool, device: str) -> int | None:
    """Train all runs in one program and return the exit status.

    None if `automatic` finds that separate processes are faster or the only way. Runs that have
    begun in one way continue in it.
    """
    separate = len(trials) == 1 or any(trial.folder.exists() for trial in trials)
    if automatic and separate and not (workdir / "together").exists():
        return None
    start_jax(device)
    from imgrec_jax.build.experiment import build_experiment
    from imgrec_jax.sweeps import vmap_sweep

    configs = [trial.request.config for trial in trials]
    try:
        vmap_sweep.check_together(configs)
    except UsageError:
        if automatic:
            return None
        raise
    begun = vmap_sweep.begun(configs, workdir / "together")
    if automatic and separate and not begun:
        return None
    alone = build_experiment(configs[0])
    many = vmap_sweep.build_together(configs, alone)
    if automatic and not begun and not _quicker(alone, many, len(trials)):
        return None
    try:
        vmap_sweep.train_together(
            configs, many, workdir / "together", [trial.folder for trial in trials]
        )
    except Interrupted:
        print(_STOPPED_LINE)
        return STOPPED
    return 0


def _quicker(alone: Any, many: Any, networks: int) -> bool:
    """Return whether the runs train faster together than apart, measured over a few steps."""
    import jax

    from imgrec_jax.sweeps import vmap_sweep

    if len(jax.devices()) > 1:
        return False
    longest = _LONGEST_STEP if jax.default_backend() == "cpu" else math.inf
    separate, stacked = vmap_sweep.faster_together(alone, many, networks, longest)
    together = "not tried" if math.isinf(stacked) else f"{1e3 * stacked:.1f} ms"
    took = f"one after the other {1e3 * separate:.1f} ms, together {together}"
    print(f"a step of all {networks}: {took}", flush=True)
    return stacked < separate


def _run_here(trials: Sequence[Trial], jobs: int) -> int:
    """Run the trials in processes on this machine and return the exit status."""
    jobs = min(len(trials), jobs or _automatic_jobs())
    print(f"{len(trials)} runs, {jobs} at once; each writes log.txt in its workdir", flush=True)
    statuses = {ended.status for ended in run_here(trials, jobs, _print_result)}
    if STOPPED in statuses:
        print(_STOPPED_LINE)
        return STOPPED
    return max(statuses)


def _print_result(ended: Ended) -> None:
    folder = ended.trial.folder
    if ended.status == STOPPED:
        line = "stopped"
    elif ended.status:
        line = f"failed with status {ended.status}: {ended.last_line or 'see its log.txt'}"
    else:
        result = read_record(folder).result
        scores = list(result["metrics"].items())[:2]
        text = ", ".join(f"{k} {'not finite' if v is None else f'{v:.4f}'}" for k, v in scores)
        line = f"{text}, {result['seconds']['total']:.0f} s"
    print(f"  {folder}  {line}", flush=True)


def _show(trials: Sequence[Trial], metrics: Sequence[str]) -> None:
    """Print the table of finished runs, with omissions on stderr."""
    folders = [trial.folder for trial in trials if (trial.folder / "config.json").exists()]
    groups = group_by_config(read_record(folder) for folder in folders)
    if any(group.finished for group in groups):
        print("\n" + write(groups, choose_metrics(groups, metrics), "text"), end="")
        for line in remarks(groups):
            print(line, file=sys.stderr)
        print(f"\nNext: python -m imgrec_jax report {_folders(trials)} --format=md")


def _automatic_jobs() -> int:
    """Return the number of concurrent runs: one per GPU, or per CPU core."""
    from imgrec_jax.training.host.host import core_count

    return len(gpu_numbers()) or core_count()


def _folders(trials: Sequence[Trial]) -> str:
    cells = dict.fromkeys(str(trial.folder.parent) for trial in trials)
    return " ".join(f"{shlex.quote(cell)}/seed*" for cell in cells)
