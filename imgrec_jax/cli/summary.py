"""Summary at the end of training: scores, time, output paths and next commands."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imgrec_jax.core.text_table import table

_FILES = ("report.html", "result.json", "metrics.jsonl", "checkpoints")
_WHY = {"last": "the last; no val split to choose by"}


def summary(
    result: Mapping[str, Any], labels: Sequence[str], workdir: str, *, trained: bool
) -> list[str]:
    """Return the lines printed at the end of training.

    Args:
        result: the content of result.json.
        labels: the class names; scores of single classes are omitted, and their number is given.
        workdir: as given by the user.
        trained: False if there was nothing left to train.
    """
    by = result["selected_on"]
    chosen = _WHY.get(by, f"the best by {by}, so {by.partition('_')[0]} is optimistic")
    seconds = result["seconds"]
    parts = ", ".join(f"{k} {seconds[k]:,.0f}" for k in ("compile", "train", "eval", "save"))
    scores = _scores(result["metrics"], labels)
    files = [name for name in _FILES if Path(workdir, name).exists()]
    facts = {
        "scored": f"step {result['step']:,} ({chosen})",
        "time": f"{seconds['total']:,.0f} s ({parts}), "
        f"{result['examples_per_second']:,.0f} images/s",
        "files": f"{', '.join(files)} in {workdir}",
    }
    if broken := result.get("broken_images"):
        counts = ", ".join(f"{name} {count:,}" for name, count in broken.items())
        facts["damaged"] = f"{sum(broken.values()):,} images skipped ({counts})"
    run = shlex.quote(workdir)
    commands = [
        [f"python -m imgrec_jax evaluate {run}", "# scores of each class"],
        [f"python -m imgrec_jax predict {run} IMAGE", "# or --web for a page"],
        [f"python -m imgrec_jax report {run} OTHER_RUN", "# compare runs"],
    ]
    if not trained:
        commands.append(
            ["the same with --resume=accept-changes", "# and more epochs; or a new --workdir"]
        )
    head = f"{'Finished' if trained else 'This run is finished'}: {workdir}"
    about = [f"  {name:<8}{text}" for name, text in facts.items()]
    following = [f"  {line}" for line in table(commands, "<<")]
    return [head, about[0], *scores, *about[1:], "", "Next:", *following]


def _scores(metrics: Mapping[str, float | None], labels: Sequence[str]) -> list[str]:
    """Return a table of scores, with a column for each split."""
    splits = list(dict.fromkeys(key.partition("_")[0] for key in metrics))
    names = list(dict.fromkeys(key.partition("_")[2] for key in metrics))
    of_classes = tuple(f"{kind}_{label}" for kind in ("iou", "of") for label in labels)
    shown = [name for name in names if not name.endswith(of_classes)]
    rows = [["", *splits]]
    for name in shown:
        values = [metrics.get(f"{split}_{name}", ...) for split in splits]
        rows.append([name.replace("_", " "), *map(_number, values)])
    lines = table(rows, "<" + ">" * len(splits))
    left = len(names) - len(shown)
    more = [f"and {left:,} of single classes, see below"] if left else []
    return [f"          {line}" for line in [*lines, *more]]


def _number(value: Any) -> str:
    """Return a score; null in result.json is NaN or infinity, and a split may lack one."""
    return "-" if value is ... else "not finite" if value is None else f"{value:.4f}"
