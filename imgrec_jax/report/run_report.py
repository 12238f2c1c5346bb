"""HTML report of one run."""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imgrec_jax.core.nested import flatten
from imgrec_jax.core.presentation import Gallery
from imgrec_jax.report import calibration, images, tables
from imgrec_jax.report.curves import SPLITS, charts
from imgrec_jax.report.html import Html, join, tag
from imgrec_jax.report.page import folded, page, section

_MOST_CARDS = 12


@dataclass(frozen=True)
class Split:
    """The evaluation of a split.

    Attributes:
        report: as `Presentation.report` returns it: `classes`, `intervals` by score, their
            `interval_method`, and for a classifier `confusion`.
        rows: as `Task.rows` returns them; for a classifier `label`, `prediction`, `confidence`.
    """

    report: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """The data of a report. Fields that are not known yet are empty, and the page omits them.

    Attributes:
        name: of the run.
        status: "running", "stopped" or "finished".
        headline: the score shown first, such as "accuracy".
        config, defaults: the run's settings, and those of configs/base.py.
        events: the lines of metrics.jsonl.
        result: the content of result.json.
        environment: versions, command and machine, if there is no result yet.
        splits: the evaluation of each split at step `step`.
        galleries: images.
        step: of the weights behind `splits` and `galleries`.
        at: time of creation of the page.
    """

    name: str
    status: str
    headline: str
    config: Mapping[str, Any]
    defaults: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Split] = field(default_factory=dict)
    galleries: Sequence[Gallery] = ()
    step: int = 0
    at: datetime.datetime = field(default_factory=datetime.datetime.now)


def run_report(story: Story) -> str:
    """Return the HTML page of a run."""
    curves = charts(story.events, first=("loss", story.headline))
    return page(
        f"{story.name} · {story.status}",
        _head(story),
        section("Scores", _cards(story), note=_scored_at(story)),
        section("Learning curves", tag("div", curves, class_="charts") if curves else ""),
        [_split(name, split) for name, split in story.splits.items()],
        [section(g.title, images.show(g), note=g.note) for g in story.galleries if g.figures],
        section("Config", _config(story)),
        section("Environment", _environment(story)),
    )


def _head(story: Story) -> Html:
    config = story.config
    made = f"{story.at:%Y-%m-%d %H:%M:%S}"
    last = max((event["step"] for event in story.events), default=0)
    where = f"step {last:,} · {config['epochs']} epochs planned · " if last else ""
    facts = f"{config['task']['name']} · {config['model']['name']} · {config['data']['source']}"
    again = {"running": " · reload this page for updates", "stopped": " · can be resumed"}
    return tag(
        "header",
        tag("h1", story.name, tag("span", story.status, class_=f"status {story.status}")),
        tag("p", facts),
        tag("p", f"{where}as of {made}{again.get(story.status, '')}", class_="note"),
    )


def _scored_at(story: Story) -> str:
    if not story.result:
        return "At the last evaluation."
    on = story.result["selected_on"]
    if on == "last":
        why = "the last; there is no val split to choose by"
    else:
        why = f"the best by {on}, so {on.partition('_')[0]} is optimistic"
    return f"At step {story.result['step']:,} ({why})."


def _cards(story: Story) -> Html:
    """Return the scores of the run, the headline of the last split first."""
    evaluations = [event for event in story.events if event["kind"] == "eval"]
    metrics = story.result.get("metrics") or (evaluations[-1] if evaluations else {})
    scores = [(*key.partition("_")[::2], value) for key, value in metrics.items()]
    # Scores of single classes are in the tables below.
    classes = tuple(f"_{name}" for split in story.splits for name in _classes(story, split))
    scores = [s for s in scores if s[0] in SPLITS and not s[1].endswith(classes)]
    # test before val; in each, the headline first and the loss last.
    scores.sort(key=lambda s: (-SPLITS.index(s[0]), s[1] != story.headline, s[1].endswith("loss")))
    cards = [
        _card(f"{split} {name.replace('_', ' ')}", value, _interval(story, split, name))
        for split, name, value in scores
    ]
    for split in [s for s in story.splits if "macro_f1" in story.splits[s].report]:
        report = story.splits[split].report
        cards += [
            _card(f"{split} {name.replace('_', ' ')}", report[name])
            for name in ("balanced_accuracy", "macro_f1", "calibration_error")
        ]
    best = story.result.get("optimistic_best_on_test")
    if best:
        name = next(key for key in best if key != "step")
        note = f"step {best['step']:,}; optimistic: picked on the test set"
        cards.append(_card(f"best {name.replace('_', ' ')}", best[name], note))
    return tag("div", cards[:_MOST_CARDS], class_="cards") if cards else Html()


def _classes(story: Story, split: str) -> list[str]:
    classes = story.splits[split].report.get("classes", ())
    return list(classes) if isinstance(classes, Mapping) else [entry["name"] for entry in classes]


def _card(name: str, value: float | None, note: str = "") -> Html:
    shown = "not finite" if value is None or not math.isfinite(value) else f"{value:.4f}"
    return tag(
        "div", tag("span", name), tag("b", shown), note and tag("small", note), class_="card"
    )


def _interval(story: Story, split: str, name: str) -> str:
    report = story.splits[split].report if split in story.splits else {}
    if name not in report.get("intervals", {}):
        return ""
    low, high = report["intervals"][name]
    exact = f"; {report['correct']:,} of {report['n']:,}" if name == "accuracy" else ""
    return f"{low:.4f} to {high:.4f} (95 %, {report['interval_method']}){exact}"


def _split(name: str, split: Split) -> Html:
    report, rows = split.report, split.rows
    parts: list[Html] = []
    if "confusion" in report:
        names = [entry["name"] for entry in report["classes"]]
        note = (
            "Truth in rows, prediction in columns. The shade is the fraction of the row, three "
            "times as deep for mistakes."
        )
        matrix = tables.confusion(report["confusion"], names)
        parts.append(section(f"Confusion matrix: {name}", matrix, note=note))
    both: list[Html] = []  # compare runs if there is room
    if report.get("classes"):
        both.append(section(f"Classes: {name}", tables.class_table(report["classes"])))
    if rows.keys() >= {"label", "prediction", "confidence"}:
        correct = rows["label"] == rows["prediction"]
        diagram = tag("div", calibration.diagram(rows["confidence"], correct), class_="diagram")
        note = (
            f"Blue: accuracy of images by the confidence of the prediction, in "
            f"{calibration.BINS} bins; dashed: perfect calibration; bars: fraction of images."
        )
        both.append(section(f"Calibration: {name}", diagram, note=note))
    return join(parts, tag("div", both, class_="beside"))


def _config(story: Story) -> Html:
    """Return the settings that differ from the defaults, and all settings, collapsed."""
    settings, base = flatten(story.config), flatten(story.defaults)
    changed = {key: value for key, value in settings.items() if base.get(key, ...) != value}
    rows = [
        tag("tr", tag("th", key), _code(value), _code(base[key]) if key in base else tag("td", "-"))
        for key, value in changed.items()
    ]
    head = tag("tr", tag("th", "key"), tag("th", "this run"), tag("th", "default"))
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="settings")
    everything = [tag("tr", tag("th", key), _code(value)) for key, value in settings.items()]
    return join(
        tag("div", table, class_="scrolled") if rows else tag("p", "All as in configs/base.py."),
        folded(
            f"All {len(settings)} keys", tag("table", tag("tbody", everything), class_="settings")
        ),
    )


def _code(value: object) -> Html:
    return tag("td", tag("code", json.dumps(value, ensure_ascii=False)))


def _environment(story: Story) -> Html:
    known = {**story.environment, **story.result}
    rows: dict[str, object] = {}
    if "device" in known:
        rows["devices"] = f"{known['devices']} x {known['device']} ({known['parallel_mode']})"
        rows["processes"] = known["processes"]
        rows["parameters"] = f"{known['parameters']:,}"
        rows["time"] = ", ".join(f"{k} {v:,.1f} s" for k, v in known["seconds"].items())
        rows["images per second"] = f"{known['examples_per_second']:,.0f}"
        rows["memory at most"] = f"{known['peak_memory_bytes'] / 2**30:.2f} GiB"
        rows["data fingerprint"] = tag("code", known["data_fingerprint"])
    if "machine" in known:
        rows["machine"] = known["machine"]
        versions = (f"{name} {version}" for name, version in known["versions"].items())
        rows["versions"] = ", ".join(versions)
        commit = known["git_commit"]
        rows["git commit"] = f"{commit}{' (changed files)' * known['git_dirty']}" if commit else "-"
    command = known.get("command", "")
    return join(
        tables.pairs(rows) if rows else "",
        tag("pre", tag("code", command), class_="command") if command else "",
    )
