"""Plan and run a sweep: every cell of a grid with every seed."""

import contextlib
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from imgrec_jax import config as configs
from imgrec_jax.core.errors import STOPPED, UsageError, UserError
from imgrec_jax.core.stop_signals import STOP_SIGNALS
from imgrec_jax.training.host.signals import STOPS_WITH_STDIN

_BATCH_SCRIPT = Path("launch/slurm.sbatch")
_COMMA = re.compile(r",(?![^(]*\))")  # not inside parentheses: "cosine(warmup=0.1,end=0)"


class Trial(NamedTuple):
    """One run of a sweep.

    Attributes:
        folder: its workdir.
        arguments: of the training command.
        request: the parsed arguments.
    """

    folder: Path
    arguments: tuple[str, ...]
    request: configs.Request


class Ended(NamedTuple):
    """The exit status of a trial's command, and its last line if it failed."""

    trial: Trial
    status: int
    last_line: str


def read_grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return `{"optim.learning_rate": ["0.1", "0.3"]}` for `["optim.learning_rate=0.1,0.3"]`.

    Raises:
        UsageError: a text is not KEY=VALUE,VALUE,..., or a key occurs twice.
    """
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, _, values = text.removeprefix("config.").partition("=")
        grid_values = [value for value in _COMMA.split(values) if value]
        if not grid_values or key in {"", "seed", *grid}:
            raise UsageError(
                f"expected --grid=KEY=VALUE,VALUE of another key each time, got '{text}'; "
                "try --grid=optim.learning_rate=0.001,0.003 (seeds: --seeds=3)"
            )
        grid[key] = grid_values
    return grid


def plan(
    config: str,
    workdir: Path,
    grid: Mapping[str, Sequence[str]],
    seeds: int,
    overrides: Sequence[str],
) -> list[Trial]:
    """Return the runs ordered by seed: the first ones are one run of each cell.

    Each command is checked first, so that nothing starts if one of them is invalid.

    Args:
        config: a config file or name.
        workdir: each run gets a folder `KEY=VALUE,.../seedN` in it.
        grid: values by key; the cells are all combinations.
        seeds: number of runs per cell, with seeds from 0 on.
        overrides: `--config.KEY=VALUE` of all runs.

    Raises:
        UsageError: a command is invalid.
    """
    cells = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    trials = []
    for seed, cell in itertools.product(range(seeds), cells):
        settings = [f"{key}={value}" for key, value in cell.items()]
        folder = workdir / quote(",".join(settings), safe="=,.+-() |") / f"seed{seed}"
        flags = [f"--config.{setting}" for setting in (*settings, f"seed={seed}")]
        arguments = (f"--config={config}", f"--workdir={folder}", *overrides, *flags)
        trials.append(Trial(folder, arguments, configs.parse_command_line(arguments)))
    return trials


def run_here(trials: Sequence[Trial], jobs: int, on_end: Callable[[Ended], None]) -> list[Ended]:
    """Run the trials on this machine, `jobs` at once, each on its share of the devices.

    The output of a run goes to `log.txt` in its workdir. A run stops when its standard input ends:
    on SIGINT and SIGTERM, and whenever this process ends. Running trials save and stop, and the
    others do not start; a second signal is forwarded, and ends them at once.

    Args:
        trials: what to run.
        jobs: how many at once; each gets its own GPUs, or its own cores of a CPU.
        on_end: called for each trial that has ended, from other threads.
    """
    shares: queue.SimpleQueue[_Share] = queue.SimpleQueue()
    for share in _shares(jobs):
        shares.put(share)
    running: set[subprocess.Popen[bytes]] = set()
    stopping = threading.Event()

    def one(trial: Trial) -> Ended:
        share = shares.get()
        try:
            if stopping.is_set():
                return Ended(trial, STOPPED, "")
            ended = _run(trial, share, running, stopping)
        finally:
            shares.put(share)
        on_end(ended)
        return ended

    def stop(number: int, frame: object) -> None:
        del frame
        again = stopping.is_set()
        stopping.set()
        for process in list(running):
            if again:
                process.send_signal(number)
            _end_stdin(process)

    with _handled(stop), ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, trials))


def submit_to_slurm(trials: Sequence[Trial], flags: Sequence[str]) -> list[str]:
    """Submit each trial as a separate job with `launch/slurm.sbatch`; return the job ids.

    Raises:
        UserError: SLURM or the script is missing, or a job is rejected.
    """
    if shutil.which("sbatch") is None or not _BATCH_SCRIPT.is_file():
        raise UserError(
            f"expected sbatch and {_BATCH_SCRIPT}, got none; try it on a login node, in a clone"
        )
    jobs = []
    for trial in trials:
        command = ["sbatch", "--parsable", *flags, str(_BATCH_SCRIPT), *trial.arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"expected sbatch to accept {trial.folder}, got '{done.stderr.strip()}'; "
                "try other --sbatch flags (accepted jobs stay in the queue)"
            )
        jobs.append(done.stdout.strip().partition(";")[0])
    return jobs


class _Share(NamedTuple):
    """Resources of a run: environment variables, and CPU cores (empty: any)."""

    environment: Mapping[str, str]
    cores: frozenset[int]


def _shares(jobs: int) -> list[_Share]:
    """Return the shares of this machine for `jobs` concurrent runs."""
    gpus = gpu_numbers()
    if gpus:
        each = max(1, len(gpus) // jobs)
        dealt = [gpus[k * each % len(gpus) :][:each] for k in range(jobs)]
        return [_Share({"CUDA_VISIBLE_DEVICES": ",".join(own)}, frozenset()) for own in dealt]
    affinity = getattr(os, "sched_getaffinity", None)
    cores = sorted(affinity(0)) if affinity else []
    if jobs == 1 or len(cores) < jobs:
        return [_Share({}, frozenset())] * jobs
    each = len(cores) // jobs
    return [_Share({}, frozenset(cores[k * each : (k + 1) * each])) for k in range(jobs)]


def gpu_numbers() -> list[str]:
    """Return the NVIDIA GPUs that this process may use; none if JAX is set to use the CPU."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or shutil.which("nvidia-smi") is None:
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [number for number in visible.split(",") if number]
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(k) for k, _ in enumerate(filter(None, done.stdout.splitlines()))]


def _run(
    trial: Trial,
    share: _Share,
    running: set[subprocess.Popen[bytes]],
    stopping: threading.Event,
) -> Ended:
    command = [sys.executable, "-m", "imgrec_jax.main", *trial.arguments]
    trial.folder.mkdir(parents=True, exist_ok=True)
    log = trial.folder / "log.txt"
    if share.cores:
        os.sched_setaffinity(0, share.cores)  # of this thread and its child processes
    with log.open("ab") as output:
        start = log.stat().st_size
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **share.environment,
                "PYTHONUNBUFFERED": "1",
                STOPS_WITH_STDIN: "1",
            },
            start_new_session=True,  # only this process receives Ctrl-C
        )
        running.add(process)
        if stopping.is_set():  # since it was started
            _end_stdin(process)
        status = process.wait()
        running.discard(process)
        _end_stdin(process)
    lines = log.read_bytes()[start:].decode("utf-8", "replace").strip().splitlines()
    return Ended(trial, status, lines[-1] if lines and status not in {0, STOPPED} else "")


def _end_stdin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


@contextlib.contextmanager
def _handled(stop: Callable[[int, object], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM with `stop` inside the context."""
    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
