"""Interface for showing the outputs and scores of a task to users.

The output of `predict` becomes an answer on the device, then a record of each example on the host
(JSON: strings, labels, files), then a phrase for the terminal.
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
    """An image with its caption.

    Attributes:
        pixels: uint8[h, w, 3].
        caption: one line in the text colour.
        detail: in a lighter colour, below it.
    """

    pixels: Image
    caption: str = ""
    detail: str = ""


class Gallery(NamedTuple):
    """Images with a title.

    Attributes:
        kind: their layout: "images", "filters" or "drawings", three in a row.
        legend: names and their colours (r, g, b).
    """

    title: str
    note: str
    figures: Sequence[Figure]
    kind: str = "images"
    legend: Sequence[tuple[str, Colour]] = ()


def row_of(answers: PyTree, row: int) -> PyTree:
    """Return the answer of one example of a batch."""
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
    """How a task presents its outputs beyond metrics. An answer is that of one example, in numpy.

    Attributes:
        answer: `(outputs of Task.predict) -> the answer for a user`, on the device.
        record: `(answer, facts) -> JSON` of an example.
        phrase: `(record) -> str`, one line to print for it.
        document: `(records, facts) -> JSON` of all examples for one file; each record also has
            `image` (its path), `width` and `height`.
        report: `(rows, facts) -> JSON` on the whole evaluation of a split.
        lines: `(metrics, report, width) -> text` of both.
        ranked: records hold `top`, labels with their probabilities, the best first.
        unit: what an answer describes: "example" (images are resized to the network's size), or
            "pixels" or "boxes" of an image of any size (see `runs.whole_image`).
        draw: `(answer, image uint8[h, w, 3], facts) -> {kind: uint8[h, w, 3]}`, the images to
            write; the kind becomes part of the file's name. The last is the most informative.
        compare: `(answer or None, example, image, facts) -> {kind: uint8[h, w, 3]}`: the
            annotation of an example of the data, as "truth", and the answer, if there is one, as
            "predicted".
        legend: `(facts) -> [(name, (r, g, b))]`, the colours used in drawings.
        quality: `(rows) -> (name, float[n])`: the quality of the answer to each example.
        galleries: `(split, rows, image of a row, facts) -> galleries` for the report.
        sample: `(outputs) -> images`, float [n, h, w, c] in 0 .. 1: for generative tasks, whose
            `predict` needs only keys.
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
