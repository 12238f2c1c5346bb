"""The verb `evaluate`: exact scores of a trained run, overall and per class."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from imgrec_jax.cli.arguments import Parser, checkpoint_flags, json_flag
from imgrec_jax.cli.start_jax import start_jax
from imgrec_jax.core.errors import UserError

WIDTH = 100  # of a terminal, in columns
Lines = Callable[[Mapping[str, float], Mapping[str, Any], int], list[str]]


def main(arguments: Sequence[str]) -> int:
    """Evaluate a run according to the arguments and return the exit status."""
    parser = Parser(
        prog="python -m imgrec_jax evaluate",
        parents=[checkpoint_flags(), json_flag()],
        description="Evaluate a run on every split of its data except train, or on other data.",
    )
    parser.add_argument("run", metavar="RUN", help="the workdir of a run, or a checkpoint in it")
    parser.add_argument("--data", default="", metavar="SOURCE", help="kind:where; default: its own")
    options = parser.parse_args(list(arguments))
    try:
        scores, lines = _scores(options)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(scores) if options.json else "\n".join(lines_of(scores, lines)))
    return 0


def _scores(options: argparse.Namespace) -> tuple[dict[str, Any], Lines]:
    """Return the --json output (metrics and report of all splits), and the text formatter."""
    start_jax(options.device)
    from imgrec_jax.runs.api import load

    run = load(options.run, options.step, options.weights)
    shown = run.presentation
    splits = {
        split: {"metrics": _finite(scored.metrics), "report": shown.report(scored.rows, run.facts)}
        for split, scored in run.evaluate(options.data).items()
    }
    by = run.result.get("selected_on", "")
    chose = not options.data and run.step == run.result.get("step")
    scores = {
        "run": options.run,
        "step": run.step,
        "task": run.task_name,
        "data": options.data or run.config.data.source,
        "optimistic": [s for s in splits if chose and by.startswith(f"{s}_")],
        "metrics": {
            f"{split}_{name}": value
            for split, scores in splits.items()
            for name, value in scores["metrics"].items()
        },
        "splits": splits,
    }
    return scores, shown.lines


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return scores with null for NaN and infinities, which JSON cannot represent."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def lines_of(scores: Mapping[str, Any], show: Lines) -> list[str]:
    """Return the --json output as text."""
    lines = [f"{scores['run']}, step {scores['step']:,}, on {scores['data']}"]
    for split, found in scores["splits"].items():
        metrics = {k: math.nan if v is None else v for k, v in found["metrics"].items()}
        shown = show(metrics, found["report"], WIDTH)
        chose = " (optimistic: it chose the step)" if split in scores["optimistic"] else ""
        lines += ["", f"{split}{chose}", *shown]
    next_step = "add --json for machines, or --data=folder:PATH for your own images"
    return [*lines, "", f"Next: {next_step}"]
