"""HTML page that compares runs: scores, seeds, overlaid curves, differences of configs.

A letter and a colour identify each group of runs on the whole page.
"""

import datetime
import itertools
import json
import math
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.report.curves import Curve, chart
from imgrec_jax.report.figures import SERIES
from imgrec_jax.report.html import Html, join, tag
from imgrec_jax.report.page import page, section
from imgrec_jax.sweeps.results import Group, Record, paired_difference, score
from imgrec_jax.sweeps.table import group_name, interval_text, mean_text, remarks
from imgrec_jax.training.workdir.files import Workdir

MOST_DRAWN = len(SERIES) - 1
"""Most groups with curves, one colour each; the last colour is for all other groups."""

_MOST_CHARTS = 16
_GREY = len(SERIES) - 1
_NO_SCORES = {"kind", "step"}

Points = Mapping[int, float]
"""A score by step."""


class DrawnGroup(NamedTuple):
    """A group with its letter, and the logged scores: by run, then by score."""

    letter: str
    group: Group
    logged: Sequence[Mapping[str, Points]]


def write(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    """Return the HTML page, with `metrics` first among the scores."""
    letters = list(_letters(len(groups)))
    records = [record for group in groups for record in group.records]
    drawn = [
        DrawnGroup(letter, group, [_logged(record) for record in group.records])
        for letter, group in zip(letters, groups, strict=True)
    ][:MOST_DRAWN]
    heading = f"{_count(len(records), 'run')} of {_count(len(groups), 'config')}"
    made = f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"
    return page(
        heading,
        tag("header", tag("h1", heading), tag("p", f"as of {made}", class_="note")),
        section("Scores", _scores(groups, letters, metrics), note=_SCORES_NOTE),
        section(
            "Paired differences from A",
            _differences(groups, letters, metrics),
            note=_DIFFERENCES_NOTE,
        ),
        section("Seed by seed", _grid(_by_seed(drawn, metrics)), note=_SEEDS_NOTE),
        section("Learning curves", _grid(_curves(drawn, metrics)), note=_curves_note(groups)),
        section("What differs in the configs", _settings(groups, letters)),
        section("Runs", _runs(groups, letters, metrics)),
    )


_SCORES_NOTE = "Mean and standard deviation over the finished runs that differ in their seed alone."
_DIFFERENCES_NOTE = (
    "Mean difference over the seeds that a config has in common with A, on the same data; in "
    "brackets, from three pairs on, its 95 % interval (Student's t, cut to the range of the score)."
)
_SEEDS_NOTE = "A line joins runs with one seed on the same data; bars are mean and deviation."


def _curves_note(groups: Sequence[Group]) -> str:
    rest = f" The first {MOST_DRAWN} configs are drawn." if len(groups) > MOST_DRAWN else ""
    return (
        "Mean of the finished runs, with their standard deviation as a band; dashed: runs that "
        f"are not finished.{rest}"
    )


def _letters(count: int) -> Iterator[str]:
    """Yield A, B, ... Z, A2, B2, ..."""
    for number in range(count):
        turn, place = divmod(number, len(string.ascii_uppercase))
        yield string.ascii_uppercase[place] + (str(turn + 1) if turn else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _badge(letter: str, number: int) -> Html:
    color = number + 1 if number < MOST_DRAWN else _GREY + 1
    return tag("span", letter, class_=f"badge series-{color}")


def _grid(charts: Sequence[Html]) -> Html:
    return tag("div", charts, class_="charts") if charts else Html()


def _scores(groups: Sequence[Group], letters: Sequence[str], metrics: Sequence[str]) -> Html:
    """Return a table with a row for each group, and notes below."""
    rows = [
        _row(
            join(_badge(letter, number), group_name(group)),
            [_runs_of(group), *(mean_text(score(group, metric)) or "-" for metric in metrics)],
        )
        for number, (letter, group) in enumerate(zip(letters, groups, strict=True))
    ]
    notes = [tag("li", line) for line in remarks(groups)]
    return join(
        _table(["config", "n", *map(_metric_title, metrics)], rows),
        tag("ul", notes, class_="note") if notes else "",
    )


def _runs_of(group: Group) -> str:
    left = len(group.records) - len(group.finished)
    return f"{len(group.finished)}" + (f" + {left} unfinished" if left else "")


def _differences(groups: Sequence[Group], letters: Sequence[str], metrics: Sequence[str]) -> Html:
    """Return a row for each group but the first: its difference from the first."""
    first, *others = groups
    compared = [m for m in metrics if any(paired_difference(g, first, m) for g in others)]
    rows = [
        _row(
            join(_badge(letter, number), group_name(group)),
            [interval_text(paired_difference(group, first, metric)) for metric in compared],
        )
        for number, (letter, group) in enumerate(zip(letters[1:], others, strict=True), start=1)
    ]
    return _table(["config", *map(_metric_title, compared)], rows) if compared else Html()


def _metric_title(metric: str) -> str:
    return metric.replace("_", " ")


def _row(head: object, cells: Sequence[object]) -> Html:
    return tag("tr", tag("th", head, scope="row"), [tag("td", cell) for cell in cells])


def _table(heads: Sequence[object], rows: Sequence[Html], kind: str = "classes") -> Html:
    head = tag("tr", [tag("th", title) for title in heads])
    table = tag("table", tag("thead", head), tag("tbody", rows), class_=f"{kind} whole")
    return tag("div", table, class_="scrolled", tabindex=0)


def _by_seed(drawn: Sequence[DrawnGroup], metrics: Sequence[str]) -> list[Html]:
    """Return a chart for each score: configs on the x axis, a line for each seed."""
    charts: list[Html] = []
    for metric in metrics:
        lines: dict[tuple[Any, Any], dict[int, float]] = {}
        means: list[Curve] = []
        for number, (letter, group, _) in enumerate(drawn):
            for record in group.finished:
                value = record.result["metrics"][metric]
                if value is not None:
                    lines.setdefault(record.pair, {})[number] = value
            found = score(group, metric)
            if found and not math.isnan(found.std):  # NaN for a single run
                means.append(Curve(f"mean {letter}", number, [number], [found.mean], [found.std]))
        several = len({data for _, data in lines}) > 1
        seeds = [
            Curve(_pair_name(*pair, several), _GREY, list(at), list(at.values()))
            for pair, at in lines.items()
        ]
        if seeds:
            places = [letter for letter, _, _ in drawn]
            charts.append(chart(metric, [*seeds, *means], places))
    return charts


def _pair_name(seed: int, data: str | None, several: bool) -> str:
    return f"seed {seed}" + (f", data {(data or '')[:8]}" if several else "")


def _logged(record: Record) -> dict[str, dict[int, float]]:
    """Return the logged values of a run, by score and step, without non-finite values."""
    found: dict[str, dict[int, float]] = {}
    for event in Workdir(record.folder).read_metrics():
        for key, value in event.items():
            if key not in _NO_SCORES and isinstance(value, int | float):
                found.setdefault(key, {})[event["step"]] = value
    return found


def _curves(drawn: Sequence[DrawnGroup], metrics: Sequence[str]) -> list[Html]:
    """Return a chart for each score: requested ones, then those of training, then the rest."""
    known = dict.fromkeys(key for d in drawn for scores in d.logged for key in scores)
    rest = sorted(known, key=lambda key: key.startswith(("val_", "test_")))
    order = dict.fromkeys([*(metric for metric in metrics if metric in known), *rest])
    charts = (
        (key, [c for number, d in enumerate(drawn) for c in _of_group(number, d, key)])
        for key in order
    )
    drawable = ((key, curves) for key, curves in charts if curves)
    return [chart(key, curves) for key, curves in itertools.islice(drawable, _MOST_CHARTS)]


def _of_group(number: int, drawn: DrawnGroup, key: str) -> Iterator[Curve]:
    """Yield the mean over the finished runs, where all have a value, and each unfinished run."""
    runs = [
        (record, scores[key])
        for record, scores in zip(drawn.group.records, drawn.logged, strict=True)
        if key in scores
    ]
    finished = [points for record, points in runs if record.finished]
    steps = sorted(set.intersection(*map(set, finished))) if finished else []
    if steps:
        values = np.array([[points[step] for step in steps] for points in finished])
        spread = values.std(0, ddof=1).tolist() if len(finished) > 1 else []
        yield Curve(drawn.letter, number, steps, values.mean(0).tolist(), spread)
    for record, points in runs:
        if not record.finished:
            label = f"{drawn.letter} {record.folder.name} (unfinished)"
            yield Curve(label, number, list(points), list(points.values()), dashed=True)


def _settings(groups: Sequence[Group], letters: Sequence[str]) -> Html:
    """Return the keys in which configs differ, with their values."""
    keys = list(groups[0].settings)
    heads = ["key", *(_badge(letter, number) for number, letter in enumerate(letters))]
    rows = [_row(key, [_value(group.settings[key]) for group in groups]) for key in keys]
    return _table(heads, rows, "settings") if keys else tag("p", "Only seeds.")


def _value(value: object) -> Html:
    return tag("code", json.dumps(value, ensure_ascii=False))


def _runs(groups: Sequence[Group], letters: Sequence[str], metrics: Sequence[str]) -> Html:
    """Return a table with a row for each run."""
    facts = ("time", "device", "data", "commit")
    rows = [
        _row(
            join(_badge(letter, number), os.fspath(record.folder)),
            [
                record.config["seed"],
                _status(record),
                *(_metric(record, metric) for metric in metrics),
                *(_fact(record.result, fact) for fact in facts),
            ],
        )
        for number, (letter, group) in enumerate(zip(letters, groups, strict=True))
        for record in group.records
    ]
    return _table(["run", "seed", "status", *map(_metric_title, metrics), *facts], rows)


def _status(record: Record) -> Html:
    status = "finished" if record.finished else "unfinished"
    return tag("span", status, class_=f"status {status}")


def _metric(record: Record, metric: str) -> str:
    value = record.result.get("metrics", {}).get(metric)
    return "-" if value is None else f"{value:.4f}"


def _fact(result: Mapping[str, Any], fact: str) -> object:
    """Return one entry of a run's result, shortened; a dash if it is missing."""
    if fact == "time" and "seconds" in result:
        return f"{result['seconds']['total']:,.0f} s"
    if fact == "device" and "device" in result:
        return f"{result['devices']} x {result['device']}"
    if fact == "data" and result.get("data_fingerprint"):
        return tag("code", result["data_fingerprint"][:8])
    if fact == "commit" and result.get("git_commit"):
        return tag("code", result["git_commit"][:8] + "+" * bool(result["git_dirty"]))
    return "-"
