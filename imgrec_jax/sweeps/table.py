"""Table that compares runs, as text, Markdown, LaTeX or CSV."""

import math
import os
from collections.abc import Sequence

from imgrec_jax.core.csv_text import csv_text
from imgrec_jax.core.printable import printable
from imgrec_jax.core.text_table import table
from imgrec_jax.sweeps.results import Estimate, Group, paired_difference, score

_PAIRED = ", paired"
_INTERVAL = ", interval"
_BELOW = {_INTERVAL: "95 % interval of the mean (Student's t)", _PAIRED: "less the first, in pairs"}
"""Columns that text shows below the scores, by the end of their title, and a common title."""


def write(groups: Sequence[Group], metrics: Sequence[str], form: str) -> str:
    """Return the table in one of `FORMATS`: mean ± standard deviation, paired differences.

    The text format also has the 95 % interval of the mean of three or more runs.
    """
    rows = _rows(groups, metrics, intervals=form == "text")
    return _WRITERS[form]([[printable(cell) for cell in row] for row in rows])


def _rows(groups: Sequence[Group], metrics: Sequence[str], *, intervals: bool) -> list[list[str]]:
    """Return the header and a row for each group that has a finished run."""
    first = groups[0]
    found = [score(group, name) for group in groups for name in metrics]
    several = intervals and any(estimate and _bounds_text(estimate) for estimate in found)
    compared = [m for m in metrics if any(paired_difference(g, first, m) for g in groups[1:])]
    between = [f"{name}{_INTERVAL}" for name in metrics if several]
    against = [f"{name}{_PAIRED}" for name in compared]
    rows = [["runs", "n", *metrics, *between, *against, "differs from the first in"]]
    for group in groups:
        if not group.finished:
            continue
        means = [mean_text(score(group, name)) for name in metrics]
        bounds = [_bounds_text(score(group, name)) for name in metrics if several]
        paired = [
            "" if group is first else interval_text(paired_difference(group, first, name))
            for name in compared
        ]
        settings = [f"{k}={v}" for k, v in group.settings.items() if v != first.settings[k]]
        n, others = str(len(group.finished)), ", ".join(settings)
        rows.append([group_name(group), n, *means, *bounds, *paired, others])
    return rows


def group_name(group: Group) -> str:
    """Return the folder of a run, or the common beginning of several folders."""
    folders = [str(record.folder) for record in group.records]
    beginning = os.path.commonprefix(folders)  # noqa: RUF071 - character by character: runs/seed*
    return folders[0] if len(folders) == 1 else f"{beginning}*"


def mean_text(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:.4f}" + ("" if math.isnan(found.std) else f" ± {found.std:.4f}")


def _bounds_text(found: Estimate | None) -> str:
    return "" if found is None or math.isnan(found.low) else f"[{found.low:.4f}, {found.high:.4f}]"


def interval_text(found: Estimate | None) -> str:
    """Return a difference with its interval and the number of pairs."""
    if found is None:
        return "no pair"
    bounds = "" if math.isnan(found.low) else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.mean:+.4f}{bounds} (n = {found.n})"


def remarks(groups: Sequence[Group]) -> list[str]:
    """Return notes on the table: unfinished runs, different data, repeated seeds."""
    lines = [
        f"unfinished, left out: {record.folder}"
        for group in groups
        for record in group.records
        if not record.finished
    ]
    finished = [record for group in groups for record in group.finished]
    if len({record.result.get("data_fingerprint") for record in finished}) > 1:
        lines.append("the runs were scored on different data: these are not paired")
    for group in groups:
        seeds = [record.config["seed"] for record in group.finished]
        if len(set(seeds)) < len(seeds):
            lines.append(f"counted more than once, with one seed: {group.records[0].folder}, ...")
    return lines


def _text(rows: Sequence[Sequence[str]]) -> str:
    """Return the scores, and the other columns below: one table would be too wide."""
    head, *body = rows
    places = {end: [k for k, title in enumerate(head) if title.endswith(end)] for end in _BELOW}
    below = {k for columns in places.values() for k in columns}
    scores = [k for k in range(len(head) - 1) if k not in below]
    lines = table([[row[k] for k in scores] for row in rows], "<" + ">" * (len(scores) - 1))
    for end, columns in places.items():
        found = [
            [row[0], *(row[k] for k in columns)] for row in body if any(row[k] for k in columns)
        ]
        if found:
            titles = [_BELOW[end], *(head[k].removesuffix(end) for k in columns)]
            lines += ["", *table([titles, *found], "<" + ">" * len(columns))]
    settings = [[row[0], row[-1]] for row in body if row[-1]]
    if settings:
        lines += ["", *table([["differs from the first in", ""], *settings], "<<")]
    return "\n".join(lines) + "\n"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    head, *body = [f"| {' | '.join(row)} |" for row in escaped]
    rule = f"| {' | '.join('---' for _ in rows[0])} |"
    return "\n".join([head, rule, *body]) + "\n"


def _latex(rows: Sequence[Sequence[str]]) -> str:
    """Return a tabular for the booktabs package."""
    head, *body = [" & ".join(map(_escape_latex, row)) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 2) + "l"
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape_latex(text: str) -> str:
    names = {"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum"}
    plain = {"±": r"$\pm$", "|": r"\textbar{}"}
    return "".join(
        rf"\{names[c]}{{}}" if c in names else plain.get(c, rf"\{c}" if c in "&%$#_{}" else c)
        for c in text
    )


_WRITERS = {"text": _text, "md": _markdown, "latex": _latex, "csv": csv_text}
FORMATS = tuple(_WRITERS)
