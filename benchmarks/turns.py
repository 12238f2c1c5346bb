"""Programs that take turns, block by block: what ratios on a busy machine are made of.

A program is a process that answers each line on its standard input with one JSON line: what a
block of its work has taken. It answers nothing while it is not asked, so that one runs at a time.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imgrec_jax.training.workdir.provenance import versions

Found = dict[str, float]


def answer(block: Callable[[], Found]) -> None:
    """Run a block for each line that comes, and print what it found: a program's own side."""
    for _ in sys.stdin:
        print(json.dumps(block()), flush=True)


def take_turns(
    commands: Mapping[str, Sequence[str]], rounds: int, seconds: float = math.inf
) -> dict[str, list[Found]]:
    """Start the programs and ask each for a block in turn; the order is reversed every round.

    Their first answers, which warm them up, are left out. After so many seconds no round is begun
    any more but the first.
    """
    started = time.monotonic()
    # They may share a GPU, of which JAX would take most of the memory beforehand.
    settings = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
    programs = {
        name: subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=settings,
        )
        for name, command in commands.items()
    }
    found: dict[str, list[Found]] = {name: [] for name in programs}
    try:
        for number in range(rounds + 1):
            if number > 1 and time.monotonic() > started + seconds:
                break
            for name in list(programs)[:: -1 if number % 2 else 1]:
                answered = _ask(name, programs[name])
                if number:
                    found[name].append(answered)
    finally:
        for program in programs.values():
            program.terminate()
            program.communicate()  # which closes its pipes too
    return found


def _ask(name: str, program: subprocess.Popen[str]) -> Found:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    line = program.stdout.readline()
    if not line:
        raise SystemExit(f"{name} ended with status {program.wait()}; its words are above")
    return json.loads(line)


def ratios(found: Mapping[str, list[Found]], key: str, ours: str, theirs: str) -> list[float]:
    """Return ours / theirs of neighbouring blocks."""
    pairs = zip(found[ours], found[theirs], strict=True)
    return [one[key] / other[key] for one, other in pairs]


def spread(values: Sequence[float]) -> str:
    """Return `0.93 (0.91 to 0.95)`: the median, and the middle half where there are four."""
    if len(values) < 4:
        return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def environment() -> dict[str, Any]:
    """Return the machine and the versions, for the JSON line of a result."""
    found = {"machine": platform.platform(), "cores": os.cpu_count(), **versions()}
    return {**found, "gpu": gpu} if (gpu := _gpu()) else found


def has(python: str, module: str) -> bool:
    """Tell whether an interpreter has a module."""
    code = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec('{module}'))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _gpu() -> str:
    """Return the name of the first GPU and its driver, without waking JAX up; "" for none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
