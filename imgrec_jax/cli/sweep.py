"""The verb `sweep`: one config with many seeds and settings, and what came of it."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from imgrec_jax import sweep
from imgrec_jax.cli.comparison_table import remarks, write
from imgrec_jax.comparison import choose_metrics, group_by_config, read_record
from imgrec_jax.core.errors import UserError

_STOPPED = 75


def main(arguments: Sequence[str]) -> int:
    """Run the sweep and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m imgrec_jax sweep",
        description="Train a config with several seeds, and with each combination of the values "
        "of a grid; then print mean and spread of each cell, and the difference of each to the "
        "first over the seeds that both have. The same command goes on where it was stopped. "
        "Other flags are --config.KEY=VALUE, for all runs.",
    )
    parser.add_argument("--config", required=True, help="a config file or the name of one")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each cell: seeds 0, 1, ...")
    parser.add_argument("--grid", action="append", default=[], metavar="KEY=VALUE,VALUE")
    parser.add_argument("--workdir", default="", help="default: runs/<name of the config>_sweep")
    parser.add_argument(
        "--jobs", type=int, default=0, help="runs at once; 0: one for each GPU, or core of a CPU"
    )
    parser.add_argument("--backend", default="local", choices=("local", "slurm"))
    parser.add_argument("--sbatch", default="", help="flags of sbatch, such as '--gpus-per-node=8'")
    parser.add_argument("--metrics", default="", help="of the table: test_accuracy,test_loss")
    options, overrides = parser.parse_known_args(list(arguments))
    try:
        workdir = Path(options.workdir or f"runs/{Path(options.config).stem}_sweep")
        grid = sweep.read_grid(options.grid)
        trials = sweep.plan(options.config, workdir, grid, options.seeds, overrides)
        if options.backend == "slurm":
            jobs = sweep.submit_to_slurm(trials, shlex.split(options.sbatch))
            print(f"Submitted {len(jobs)} jobs: {', '.join(jobs)}")
            print(f"Next, when they are done: python -m imgrec_jax report {_folders(trials)}")
            return 0
        return _run_here(trials, options.jobs, [n for n in options.metrics.split(",") if n])
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status


def _run_here(trials: Sequence[sweep.Trial], jobs: int, metrics: Sequence[str]) -> int:
    """Run the trials on this machine, print how each ends, and then the table."""
    jobs = min(len(trials), jobs or automatic_jobs())
    print(f"{len(trials)} runs, {jobs} at once; each writes log.txt in its workdir", flush=True)
    ended = sweep.run_here(trials, jobs, _tell)
    if any(end.status == _STOPPED for end in ended):
        print("\nStopped and saved. The same command goes on from there.")
        return _STOPPED
    failed = [end for end in ended if end.status]
    finished = [end.trial.folder for end in ended if not end.status]
    if finished:
        groups = group_by_config(read_record(folder) for folder in finished)
        print("\n" + write(groups, choose_metrics(groups, metrics), "text"), end="")
        for line in remarks(groups):
            print(line, file=sys.stderr)
        print(f"\nNext: python -m imgrec_jax report {_folders(trials)} --format=md")
    return failed[0].status if failed else 0


def _tell(ended: sweep.Ended) -> None:
    folder = ended.trial.folder
    if ended.status == _STOPPED:
        line = "stopped"
    elif ended.status:
        line = f"failed with status {ended.status}: {ended.last_line or 'see its log.txt'}"
    else:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        scores = list(result["metrics"].items())[:2]
        told = ", ".join(f"{k} {'not finite' if v is None else f'{v:.4f}'}" for k, v in scores)
        line = f"{told}, {result['seconds']['total']:.0f} s"
    print(f"  {folder}  {line}", flush=True)


def automatic_jobs() -> int:
    """Return how many runs go at once: one for each GPU, or for each core of a CPU."""
    from imgrec_jax.training.host import core_count

    return len(sweep.gpu_numbers()) or core_count()


def _folders(trials: Sequence[sweep.Trial]) -> str:
    cells = dict.fromkeys(str(trial.folder.parent) for trial in trials)
    return " ".join(f"{shlex.quote(cell)}/seed*" for cell in cells)
