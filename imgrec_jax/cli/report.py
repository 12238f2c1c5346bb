"""The verb `report`: rewrite the HTML report of a trained run, or compare runs."""

import sys
from collections.abc import Sequence
from pathlib import Path

from imgrec_jax.cli.arguments import Parser, device_flags, step_of
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.ranges import one_of
from imgrec_jax.sweeps import table
from imgrec_jax.sweeps.results import choose_metrics, group_by_config, read_record
from imgrec_jax.sweeps.table import FORMATS
from imgrec_jax.training.workdir.files import as_user_errors


def main(arguments: Sequence[str]) -> int:
    """Write reports according to the arguments and return the exit status."""
    parser = Parser(
        prog="python -m imgrec_jax report",
        parents=[device_flags()],
        description="For one run, rewrite its report.html. For several runs, or with --format, "
        "print a table. Runs that differ only in their seed form one row (mean and "
        "standard deviation); differences from the first row are paired by seed, with "
        "a 95 % interval. --format=html writes a page with their curves.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="workdirs")
    parser.add_setting("--format", one_of("", *FORMATS, "html")(""))
    parser.add_argument("--metrics", default="", help="metrics to compare: test_accuracy,test_loss")
    parser.add_argument(
        "--out", default="comparison.html", metavar="FILE", help="output file of --format=html"
    )
    parser.add_read("--step", step_of, help="step of the report of one run: number, best or last")
    options = parser.parse_args(list(arguments))
    try:
        if len(options.runs) == 1 and options.format in {"", "html"}:
            _print_path(write_run_report(options.runs[0], options.step, options.device))
        else:
            names = [name for name in options.metrics.split(",") if name]
            _compare(options.runs, names, options.format or "text", Path(options.out))
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def write_run_report(run: Path, step: int | str | None, device: str) -> Path:
    """Write the report of one run and return its path.

    Raises:
        UserError: unknown run or step, or its data cannot be read.
    """
    start_jax(device)
    from imgrec_jax.runs.api import load
    from imgrec_jax.runs.reporter import report_on
    from imgrec_jax.training.workdir.files import Workdir

    return report_on(load(run, step), Workdir(run))


def _compare(folders: Sequence[Path], requested: Sequence[str], form: str, out: Path) -> None:
    """Print the table, with omissions on stderr; or write the page to `out`."""
    groups = group_by_config(read_record(folder) for folder in folders)
    metrics = choose_metrics(groups, requested)
    if form == "html":
        from imgrec_jax.sweeps import page

        with as_user_errors(out):
            out.write_text(page.write(groups, metrics), encoding="utf-8")
        _print_path(out)
        return
    print(table.write(groups, metrics, form), end="")
    for line in table.remarks(groups):
        print(line, file=sys.stderr)


def _print_path(page: Path) -> None:
    print(f"Wrote {page}\n\nNext: open it in a browser; it works offline")
