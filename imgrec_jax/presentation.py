"""How the outputs and the scores of each task are shown: the table, and what is left out of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.core.task import PyTree
from imgrec_jax.data.resize import stretch
from imgrec_jax.looking import look_at_pixels
from imgrec_jax.tasks import (
    classification_report,
    detection_drawing,
    detection_scores,
    segmentation_report,
)

Picture = np.ndarray
Shape = tuple[int, int, int]
Look = Callable[[Callable[[np.ndarray], PyTree], Picture, Shape, Any], PyTree]


def _listed(records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    return {"labels": list(labels), "pictures": list(records)}


@dataclass(frozen=True)
class Drawing:
    """How the answers of a task are drawn, where they belong to places in a picture.

    An answer is that of one picture: `Presentation.answer` without the leading axis, in numpy.

    Attributes:
        look: `(predict, picture, shape, config) -> answer` for a picture [h, w, c] of any size,
            with places counted in its own pixels. `predict` answers
            pictures [n, h, w, c] of the shape.
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

    look: Look
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


def _probabilities(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits.astype(jnp.float32))


def _boxes_in(
    predict: Callable[[np.ndarray], PyTree], picture: Picture, shape: Shape, config: Any
) -> PyTree:
    """Return the boxes of a picture of any size, which is stretched as in training."""
    del config
    height, width = shape[:2]
    answer = {name: value[0] for name, value in predict(stretch(picture, shape[:2])[None]).items()}
    back = np.array([picture.shape[1] / width, picture.shape[0] / height] * 2, np.float32)
    return {**answer, "boxes": answer["boxes"] * back}


PRESENTATIONS: Mapping[str, Presentation] = {
    "classify": Presentation(
        _probabilities, classification_report.report, classification_report.lines
    ),
    "detect": Presentation(
        report=detection_scores.report,
        lines=detection_scores.lines,
        drawing=Drawing(
            look=_boxes_in,
            draw=detection_drawing.draw,
            compare=detection_drawing.compare,
            legend=detection_drawing.legend,
            quality=detection_drawing.quality,
            record=detection_drawing.record,
            phrase=detection_drawing.phrase,
            document=detection_drawing.document,
        ),
    ),
    "segment": Presentation(
        _probabilities,
        segmentation_report.report,
        segmentation_report.lines,
        Drawing(
            look=look_at_pixels,
            draw=segmentation_report.draw,
            compare=segmentation_report.compare,
            legend=segmentation_report.legend,
            quality=segmentation_report.quality,
            record=segmentation_report.record,
            phrase=segmentation_report.phrase,
        ),
    ),
}


def presentation(task: str) -> Presentation:
    """Return how a task is shown; one that is not in the table shows its metrics alone."""
    return PRESENTATIONS.get(task, Presentation())


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Return uint8[h, w, 3] to draw on: grey from one or two channels, else the first three."""
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.shape[-1] < 3:
        return np.repeat(picture[..., :1], 3, axis=-1)
    return np.ascontiguousarray(picture[..., :3])
