"""The verb `report`: the page of a trained run, written again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from imgrec_jax.cli.start import DEVICES, start_jax, step_of
from imgrec_jax.core.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Write a report as the arguments say and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m imgrec_jax report",
        description="Write report.html of a run again: scores, curves, mistakes, config.",
    )
    parser.add_argument("run", metavar="RUN", help="the workdir of a run")
    parser.add_argument("--step", default="", help="number, best or last; default: the result's")
    parser.add_argument("--device", default="", choices=DEVICES)
    options = parser.parse_args(list(arguments))
    try:
        path = write_run_report(options.run, options.step, options.device)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    print(f"Wrote {path}\n\nNext: open it in a browser; it is one file, and asks for no network")
    return 0


def write_run_report(run: str, step: str, device: str) -> Path:
    """Write the report of one run and return the file.

    Raises:
        UserError: there is no such run or step, or its data cannot be read.
    """
    start_jax(device)
    from imgrec_jax.api import load
    from imgrec_jax.reporting import report_on
    from imgrec_jax.training.workdir import Workdir

    return report_on(load(run, step_of(step)), Workdir(run))
