"""Learning curves: a small chart for each score, with the numbers beside it to hover over."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.report.figures import FAINT, SERIES, draw
from imgrec_jax.report.html import Html, tag

MOST_CHARTS = 16
MOST_POINTS = 400
"""Of a curve; of longer ones every so many points are drawn, the first and the last with them."""

SPLITS = ("train", "val", "test")
_TITLES = {"learning_rate": "learning rate", "images_per_second": "images per second"}
_SIZE = (420.0, 230.0)
_BOX = (0.14, 0.07, 0.975, 0.82)  # of the axes: left, top, right, bottom, in parts of the size


class Curve(NamedTuple):
    """One line of a chart: a name, which colour it has, and its points."""

    name: str
    color: int
    steps: Sequence[int]
    values: Sequence[float]


def charts(events: Iterable[Mapping[str, Any]], first: Sequence[str] = ()) -> list[Html]:
    """Return a chart for each score of the events of a run, those named in `first` before all.

    Args:
        events: the lines of metrics.jsonl: `kind`, `step` and scores such as `train_loss`, which
            is drawn beside `test_loss`. Scores that are null are left out.
        first: such as "loss" and "accuracy".
    """
    by_score = _curves(events)
    last = [name for name in _TITLES if name in by_score]
    others = [name for name in by_score if name not in _TITLES and name not in first]
    order = [*(name for name in first if name in by_score), *others]
    return [_chart(name, by_score[name]) for name in [*order[: MOST_CHARTS - len(last)], *last]]


def _curves(events: Iterable[Mapping[str, Any]]) -> dict[str, list[Curve]]:
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for event in events:
        for key, value in event.items():
            if key in {"kind", "step"} or not isinstance(value, int | float):
                continue
            split, _, score = key.partition("_")
            known = split in SPLITS
            chart = points.setdefault(score if known else key, {})
            chart.setdefault(split if known else "", []).append((event["step"], value))
    return {
        score: [_curve(split, of[split]) for split in sorted(of, key=_place)]
        for score, of in points.items()
    }


def _curve(split: str, points: Sequence[tuple[int, float]]) -> Curve:
    kept = np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().astype(int)
    steps, values = zip(*(points[k] for k in kept), strict=True)
    return Curve(split, _place(split), steps, values)


def _place(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def _chart(name: str, curves: Sequence[Curve]) -> Html:
    limits: dict[str, list[float]] = {}

    def plot(axes: Any) -> None:
        left, top, right, bottom = _BOX
        axes.set_position((left, 1 - bottom, right - left, bottom - top))
        for curve in curves:
            marker = "o" if len(curve.steps) < 40 else ""
            style = {"marker": marker, "markersize": 2.5, "linewidth": 1.6}
            axes.plot(curve.steps, curve.values, color=SERIES[curve.color], **style)
        axes.set_xlabel("step", color=FAINT, labelpad=2)
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.locator_params(axis="y", nbins=4)
        limits.update(x=list(map(float, axes.get_xlim())), y=list(map(float, axes.get_ylim())))

    title = _TITLES.get(name, name.replace("_", " "))
    identifier = "chart-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    picture = draw(identifier, f"{title} by step", _SIZE, plot)
    numbers = {
        "box": _BOX,
        **limits,
        "curves": [
            {
                "name": curve.name or title,
                "color": curve.color + 1,
                "x": curve.steps,
                "y": [float(f"{value:.5g}") for value in curve.values],
            }
            for curve in curves
        ],
    }
    return tag(
        "figure",
        tag("figcaption", tag("b", title), [_legend(curve) for curve in curves]),
        tag("div", picture, class_="plot", tabindex=0),
        class_="chart",
        data_chart=json.dumps(numbers),
    )


def _legend(curve: Curve) -> Html:
    """Return the name of a curve in its colour, with its last value."""
    value = curve.values[-1]
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return tag("span", f"{curve.name} {shown}".strip(), class_=f"legend series-{curve.color + 1}")
