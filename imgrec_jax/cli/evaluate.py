"""The verb `evaluate`: exact scores of a trained run."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from imgrec_jax.core.errors import UsageError, UserError


def main(arguments: Sequence[str]) -> int:
    """Score a run as the arguments say and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m imgrec_jax evaluate",
        description="Score a run on every split but train of its data, or of other data.",
    )
    parser.add_argument("run", metavar="RUN", help="the workdir of a run")
    parser.add_argument("--data", default="", metavar="SOURCE", help="kind:where; default: its own")
    parser.add_argument("--step", type=int, help="a saved step (default: the one of the result)")
    parser.add_argument("--device", default="", choices=["", "cpu", "gpu", "tpu"])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(list(arguments))
    try:
        scores = _scores(options)
    except UserError as error:
        print(f"imgrec_jax: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(scores))
        return 0
    print(f"{scores['run']}, step {scores['step']:,}")
    for name, value in scores["metrics"].items():
        print(f"  {name:<24} {value:.4f}")
    print("Next: add --json for machines, or --data=folder:PATH for your own pictures")
    return 0


def _scores(options: argparse.Namespace) -> dict[str, Any]:
    import jax

    if options.device:
        jax.config.update("jax_platforms", options.device)
        try:
            jax.devices()
        except RuntimeError as error:
            raise UsageError(
                f"expected a {options.device} here, got none; try --device=cpu"
            ) from error

    from imgrec_jax.api import load

    run = load(options.run, step=options.step)
    metrics = {
        f"{split}_{name}": value
        for split, scored in run.evaluate(options.data).items()
        for name, value in scored.metrics.items()
    }
    return {"run": options.run, "step": run.step, "metrics": metrics}
