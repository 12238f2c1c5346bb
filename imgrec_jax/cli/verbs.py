"""The verbs of the command line."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from imgrec_jax.cli import data, evaluate, predict, probe, report, sample, sweep, train
from imgrec_jax.core.errors import UserError, unknown
from imgrec_jax.core.printable import printable_output

VERBS: Mapping[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "train": (train.main, "train a config"),
    "sweep": (sweep.main, "train one config with many seeds and settings"),
    "evaluate": (evaluate.main, "score a run on its data or on other data"),
    "predict": (predict.main, "predict the contents of images"),
    "sample": (sample.main, "generate images with a generative run"),
    "probe": (probe.main, "classify other data by a run's features"),
    "report": (report.main, "write the report of a run, or compare runs"),
    "data": (data.main, "inspect a data set, pack it, clear the cache"),
}


def main(arguments: Sequence[str]) -> int:
    """Run a verb and return the exit status."""
    verb, *rest = list(arguments) or ["--help"]
    try:
        with printable_output():
            status = _run(verb, rest)
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` closed the pipe; Python would report it again on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(verb: str, rest: Sequence[str]) -> int:
    if verb in {"--help", "-h", "help"}:
        print("usage: python -m imgrec_jax VERB ...\n")
        for name, (_, text) in VERBS.items():
            print(f"  {name:<10} {text}")
        print("\nNext: python -m imgrec_jax train --config=configs/digits.py")
        return 0
    if verb not in VERBS:
        error: UserError = unknown("verb", verb, VERBS)
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    return VERBS[verb][0](rest)
