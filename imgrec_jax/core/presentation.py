"""How the outputs and the scores of a task are shown to people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.task import PyTree

Picture = np.ndarray


def _listed(records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    return {"labels": list(labels), "pictures": list(records)}


@dataclass(frozen=True)
class Drawing:
    """How the answers of a task are drawn, where they belong to places in a picture.

    An answer is that of one picture: `Presentation.answer` without the leading axis, in numpy.

    Attributes:
        unit: "pixels" or "boxes": what an answer is about, and so how a picture of any size is
            seen (see `runs.whole_image`).
        draw: `(answer, picture uint8[h, w, 3], label names) -> {kind: uint8[h, w, 3]}`, the
            pictures to write; the kind goes into the file's name. The last shows it best.
        compare: `(answer or None, example, picture, label names) -> {kind: uint8[h, w, 3]}`: what
            is true of an example of the data, as "truth", and the answer, where there is one, as
            "predicted".
        legend: `(label names) -> [(name, (r, g, b))]`, the colours that they are drawn in.
        quality: `(rows) -> (name, float[n])`: how good the answer to each picture is.
        record: `(answer, label names) -> JSON` of a picture.
        phrase: `(record) -> str`, what to print of it in one line.
        document: `(records, label names) -> JSON` of all pictures for one file; each record also
            has `picture` (its path), `width` and `height`.
    """

    unit: str
    draw: Callable[[PyTree, Picture, Sequence[str]], dict[str, Picture]]
    compare: Callable[
        [PyTree, Mapping[str, np.ndarray], Picture, Sequence[str]], dict[str, Picture]
    ]
    legend: Callable[[Sequence[str]], list[tuple[str, tuple[int, int, int]]]]
    quality: Callable[[Mapping[str, np.ndarray]], tuple[str, np.ndarray]]
    record: Callable[[PyTree, Sequence[str]], dict[str, Any]]
    phrase: Callable[[Mapping[str, Any]], str]
    document: Callable[[Sequence[Mapping[str, Any]], Sequence[str]], Any] = _listed


@dataclass(frozen=True)
class Presentation:
    """What a task has to say beyond its metrics; by default nothing.

    Attributes:
        answer: `(outputs of Task.predict) -> what a user asked for`.
        report: `(rows, label names) -> JSON` of the whole evaluation of a split.
        lines: `(metrics, report, width) -> text` of both.
        drawing: how answers are drawn; None where there is nothing to draw.
    """

    answer: Callable[[PyTree], PyTree] = lambda outputs: outputs
    report: Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]] = lambda rows, labels: {}
    lines: Callable[[Mapping[str, float], Mapping[str, Any], int], list[str]] = (
        lambda metrics, report, width: [f"  {name:<24} {metrics[name]:.4f}" for name in metrics]
    )
    drawing: Drawing | None = None
