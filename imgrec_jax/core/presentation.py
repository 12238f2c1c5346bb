"""Interface for showing the outputs and scores of a task to users.

What `predict` returns becomes an answer on the device, a record of each example on the host (JSON:
strings, labels, files), and of that a phrase for the terminal.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from imgrec_jax.core.task import Facts, PyTree

Image = np.ndarray
Colour = tuple[int, int, int]
Rows = Mapping[str, np.ndarray]


class Figure(NamedTuple):
    """An image with what stands below it.

    Attributes:
        pixels: uint8[h, w, 3].
        caption: in ink, one line.
        detail: faint, below it.
    """

    pixels: Image
    caption: str = ""
    detail: str = ""


class Gallery(NamedTuple):
    """Images under a title.

    Attributes:
        kind: their look: "images", "filters" or "drawings", three in a row.
        legend: names with the colours (r, g, b) that stand for them.
    """

    title: str
    note: str
    figures: Sequence[Figure]
    kind: str = "images"
    legend: Sequence[tuple[str, Colour]] = ()


def row_of(answers: PyTree, row: int) -> PyTree:
    """Return the answer of one example of many."""
    return jax.tree.map(lambda array: array[row], answers)


def _as_lists(answer: PyTree, facts: Facts) -> dict[str, Any]:
    del facts
    return {"answer": jax.tree.map(lambda array: np.asarray(array).tolist(), answer)}


def _as_text(record: Mapping[str, Any]) -> str:
    return json.dumps(record.get("answer", record), ensure_ascii=False)


def _listed(records: Sequence[Mapping[str, Any]], facts: Facts) -> dict[str, Any]:
    return {"labels": list(facts.get("label_names", ())), "images": list(records)}


def _metrics_alone(
    metrics: Mapping[str, float], report: Mapping[str, Any], width: int
) -> list[str]:
    del report, width
    return [f"  {name:<24} {value:.4f}" for name, value in metrics.items()]


@dataclass(frozen=True)
class Presentation:
    """What a task has to say beyond its metrics. An answer is that of one example, in numpy.

    Attributes:
        answer: `(outputs of Task.predict) -> what a user asked for`, on the device.
        record: `(answer, facts) -> JSON` of an example.
        phrase: `(record) -> str`, what to print of it in one line.
        document: `(records, facts) -> JSON` of all examples for one file; each record also has
            `image` (its path), `width` and `height`.
        report: `(rows, facts) -> JSON` of the whole evaluation of a split.
        lines: `(metrics, report, width) -> text` of both.
        ranked: records hold `top`, labels with their probabilities, the best first.
        unit: what an answer is about: "example" (images are brought to the network's size), or
            "pixels" or "boxes" of an image of any size (see `runs.whole_image`).
        draw: `(answer, image uint8[h, w, 3], facts) -> {kind: uint8[h, w, 3]}`, the images to
            write; the kind goes into the file's name. The last shows it best.
        compare: `(answer or None, example, image, facts) -> {kind: uint8[h, w, 3]}`: what is true
            of an example of the data, as "truth", and the answer, where there is one, as
            "predicted".
        legend: `(facts) -> [(name, (r, g, b))]`, the colours that they are drawn in.
        quality: `(rows) -> (name, float[n])`: how good the answer to each example is.
        galleries: `(split, rows, image of a row, facts) -> galleries` for the report.
        sample: `(outputs) -> images`, float [n, h, w, c] in 0 .. 1: of a task that generates,
            whose `predict` needs nothing but keys.
    """

    answer: Callable[[PyTree], PyTree] = lambda outputs: outputs
    record: Callable[[PyTree, Facts], dict[str, Any]] = _as_lists
    phrase: Callable[[Mapping[str, Any]], str] = _as_text
    document: Callable[[Sequence[Mapping[str, Any]], Facts], Any] = _listed
    report: Callable[[Rows, Facts], dict[str, Any]] = lambda rows, facts: {}
    lines: Callable[[Mapping[str, float], Mapping[str, Any], int], list[str]] = _metrics_alone
    ranked: bool = False
    unit: str = "example"
    draw: Callable[[PyTree, Image, Facts], dict[str, Image]] | None = None
    compare: Callable[[PyTree, Mapping[str, np.ndarray], Image, Facts], dict[str, Image]] | None = (
        None
    )
    legend: Callable[[Facts], Sequence[tuple[str, Colour]]] = lambda facts: ()
    quality: Callable[[Rows], tuple[str, np.ndarray]] | None = None
    galleries: Callable[[str, Rows, Callable[[int], Image], Facts], Sequence[Gallery]] | None = None
    sample: Callable[[PyTree], PyTree] | None = None
