"""Tables of the report: per-class scores, confusion matrix, name-value pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from imgrec_jax.core.text_table import display_width, shorten
from imgrec_jax.report.figures import draw
from imgrec_jax.report.html import Html, join, tag

MOST_ROWS = 200
"""Most rows of a table of classes; of more classes, the worst are shown."""

MOST_CELLS = 30
"""Most classes of a confusion matrix with printed numbers; larger ones become an image."""

_NAME_WIDTH = 60
_PAIRS = 12


def pairs(rows: Mapping[str, object]) -> Html:
    """Return names with their values, one pair per line."""
    return tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows.items()])


def class_table(classes: Any) -> Html:
    """Return the table of the scores of each class, from the report of an evaluation.

    Args:
        classes: `[{"name": ..., score: ...}, ...]`, or `{name: {score: ...}}`. Counts are integers,
            scores are in 0 .. 1 and get a bar, null becomes a dash.
    """
    if isinstance(classes, Mapping):
        classes = [{"name": name, **scores} for name, scores in classes.items()]
    if not classes:
        return Html()
    heads = [key for key in classes[0] if key != "name"]
    ranked = [key for key in ("f1", "iou", "ap") if key in heads]
    note = ""
    if len(classes) > MOST_ROWS and ranked:
        known = [c for c in classes if c[ranked[0]] is not None]
        note = f"The worst {MOST_ROWS:,} of {len(classes):,} classes."
        classes = sorted(known, key=lambda c: c[ranked[0]])
    head = tag("tr", tag("th", "class"), [tag("th", key.replace("_", " ")) for key in heads])
    body = [
        tag("tr", _name(c["name"]), [_score(c[key]) for key in heads]) for c in classes[:MOST_ROWS]
    ]
    table = tag("table", tag("thead", head), tag("tbody", body), class_="classes")
    return join(_scrolled(table), note and tag("p", note, class_="note"))


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Return the confusion matrix, with true classes in rows, and the most frequent confusions."""
    if len(names) > MOST_CELLS:
        matrix = tag("div", _matrix_image(counts), class_="matrix")
        return tag("div", matrix, tag("div", _confusions(counts, names)), class_="beside")
    upright = "" if all(display_width(name) <= 3 for name in names) else "turned"
    heads = [
        tag("th", tag("span", shorten(name, 24), title=name), class_=upright) for name in names
    ]
    body = [
        tag("tr", _name(name), [_cell(k == row, n, sum(line)) for k, n in enumerate(line)])
        for row, (name, line) in enumerate(zip(names, counts, strict=True))
    ]
    head = tag("thead", tag("tr", tag("td", class_="corner"), heads))
    table = tag("table", head, tag("tbody", body), class_="confusion")
    return tag("div", _scrolled(table), tag("div", _confusions(counts, names)), class_="beside")


def _scrolled(table: Html) -> Html:
    return tag("div", table, class_="scrolled", tabindex=0)


def _name(name: str) -> Html:
    short = shorten(name, _NAME_WIDTH)
    return tag("th", short, scope="row", title="" if short == name else name)


def _score(value: float | int | None) -> Html:
    if value is None:
        return tag("td", "-")
    if isinstance(value, int):
        return tag("td", f"{value:,}")
    return tag("td", f"{value:.4f}", class_="bar", style=f"--part: {min(max(value, 0), 1):.3f}")


def _cell(hit: bool, count: int, total: int) -> Html:
    """Return a cell shaded by its fraction of the row; rarer errors three times as strongly."""
    part = count / total if total else 0.0
    shade = part if hit else min(1.0, 3 * part)
    look = f"{'hit' if hit else 'miss'}{' deep' if shade > 0.55 else ''}"
    if not count:  # a dot for zero makes the other counts stand out
        return tag("td", "·", class_="none")
    return tag("td", f"{count:,}", class_=look, style=f"--part: {shade:.3f}", title=f"{part:.1%}")


def _matrix_image(counts: Sequence[Sequence[int]]) -> Html:
    import numpy as np

    matrix = np.asarray(counts, np.float64)
    parts = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)

    def plot(axes: Any) -> None:
        # Square roots make rare confusions visible beside the correct predictions.
        axes.imshow(np.sqrt(parts), cmap="Blues", interpolation="nearest", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.set_xlabel("predicted class number")
        axes.set_ylabel("true class number")

    return draw("confusion", "confusion matrix", (520.0, 500.0), plot)


def _confusions(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Html:
    """Return the most frequent confusions as text."""
    found = sorted(
        (-count, truth, predicted)
        for truth, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and truth != predicted
    )[:_PAIRS]
    if not found:
        return tag("p", "No image was misclassified.", class_="note")
    rows = [
        tag(
            "tr",
            _name(names[truth]),
            tag("td", "predicted as ", tag("b", shorten(names[predicted], _NAME_WIDTH))),
            tag("td", f"{-count:,} of {sum(counts[truth]):,}"),
        )
        for count, truth, predicted in found
    ]
    title = tag("h3", "Most frequent confusions")
    return join(title, _scrolled(tag("table", tag("tbody", rows), class_="confusions")))
