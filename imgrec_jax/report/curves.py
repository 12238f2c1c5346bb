"""Learning curves: a small chart for each score, with its values on hover."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.report.figures import FAINT, SERIES, draw
from imgrec_jax.report.html import Html, tag

MOST_CHARTS = 16
MOST_POINTS = 400
"""Most points of a curve; longer ones are subsampled and keep their first and last point."""

SPLITS = ("train", "val", "test")
_TITLES = {"learning_rate": "learning rate", "images_per_second": "images per second"}
_SIZE = (420.0, 230.0)
_BOX = (0.14, 0.07, 0.975, 0.82)  # of the axes: left, top, right, bottom, as fractions of the size


class Curve(NamedTuple):
    """One line of a chart.

    Attributes:
        name: for the legend and the hover text.
        color: which of `figures.SERIES`.
        steps, values: its points.
        spread: half-width of the band around the values.
        dashed: for an unfinished run.
    """

    name: str
    color: int
    steps: Sequence[int]
    values: Sequence[float]
    spread: Sequence[float] = ()
    dashed: bool = False


def charts(events: Iterable[Mapping[str, Any]], first: Sequence[str] = ()) -> list[Html]:
    """Return a chart for each score of the events of a run, those named in `first` first.

    Args:
        events: the lines of metrics.jsonl: `kind`, `step` and scores such as `train_loss`, which
            is drawn beside `test_loss`. Null scores are omitted.
        first: such as "loss" and "accuracy".
    """
    by_score = _curves(events)
    last = [name for name in _TITLES if name in by_score]
    others = [name for name in by_score if name not in _TITLES and name not in first]
    order = [*(name for name in first if name in by_score), *others]
    return [chart(name, by_score[name]) for name in [*order[: MOST_CHARTS - len(last)], *last]]


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
        score: [
            Curve(split, _place(split), [step for step, _ in of[split]], [y for _, y in of[split]])
            for split in sorted(of, key=_place)
        ]
        for score, of in points.items()
    }


def _place(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)


def chart(name: str, curves: Sequence[Curve], places: Sequence[str] = ()) -> Html:
    """Return a chart of a score by step; chart names must be unique on a page.

    With `places`, the x axis shows these names instead of steps: a step is an index into them.
    """
    curves = [_thinned(curve) for curve in curves]
    limits: dict[str, list[float]] = {}

    def plot(axes: Any) -> None:
        left, top, right, bottom = _BOX
        axes.set_position((left, 1 - bottom, right - left, bottom - top))
        for curve in curves:
            _draw_curve(axes, curve)
        axes.locator_params(axis="y", nbins=4)
        if places:
            axes.set_xticks(range(len(places)), places)
            axes.set_xlim(-0.5, len(places) - 0.5)
        else:
            axes.set_xlabel("step", color=FAINT, labelpad=2)
            axes.locator_params(axis="x", nbins=5, integer=True)
        limits.update(x=list(map(float, axes.get_xlim())), y=list(map(float, axes.get_ylim())))

    title = _TITLES.get(name, name.replace("_", " "))
    kind = "places" if places else "steps"
    identifier = f"{kind}-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    image = draw(identifier, f"{title} by {kind}", _SIZE, plot)
    numbers = {"box": _BOX, **limits, "curves": [_numbers(curve, title) for curve in curves]}
    numbers |= {"places": list(places)} if places else {}
    return tag(
        "figure",
        tag("figcaption", tag("b", title), [] if places else _legend(curves)),
        tag("div", image, class_="plot", tabindex=0),
        class_="chart",
        data_chart=json.dumps(numbers),
    )


def _thinned(curve: Curve) -> Curve:
    """Return the curve subsampled to at most `MOST_POINTS` points."""
    count = len(curve.steps)
    if count <= MOST_POINTS:
        return curve
    kept = np.linspace(0, count - 1, MOST_POINTS).round().astype(int)
    return curve._replace(
        steps=[curve.steps[k] for k in kept],
        values=[curve.values[k] for k in kept],
        spread=[curve.spread[k] for k in kept] if curve.spread else (),
    )


def _draw_curve(axes: Any, curve: Curve) -> None:
    color = SERIES[curve.color]
    marker = "o" if len(curve.steps) < 40 else ""
    line = (0, (3, 2)) if curve.dashed else "-"
    style = {"marker": marker, "markersize": 3, "linewidth": 1.6, "linestyle": line}
    axes.plot(curve.steps, curve.values, color=color, **style)
    if len(curve.spread) == 1:
        bars = {"linewidth": 2.5, "capsize": 7, "capthick": 2.5, "marker": "_", "markersize": 16}
        axes.errorbar(curve.steps, curve.values, curve.spread, color=color, **bars)
    elif curve.spread:
        values, spread = np.asarray(curve.values), np.asarray(curve.spread)
        band = (values - spread, values + spread)
        axes.fill_between(curve.steps, *band, color=color, alpha=0.18, linewidth=0)


def _numbers(curve: Curve, title: str) -> dict[str, Any]:
    """Return the hover data of a curve."""
    numbers = {
        "name": curve.name or title,
        "color": curve.color + 1,
        "x": curve.steps,
        "y": [float(f"{value:.5g}") for value in curve.values],
    }
    spread = {"spread": [float(f"{value:.2g}") for value in curve.spread]}
    return numbers | (spread if curve.spread else {})


def _legend(curves: Sequence[Curve]) -> list[Html]:
    """Return the names of curves in their colours, with their last values."""
    names: list[Html] = []
    for curve in curves:
        value = curve.values[-1]
        shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        kind = f"legend series-{curve.color + 1}"
        if not curve.dashed:
            names.append(tag("span", f"{curve.name} {shown}".strip(), class_=kind))
    return names
