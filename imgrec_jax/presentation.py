"""How the outputs and the scores of each task are shown: the table, and what is left out of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from imgrec_jax.core.task import PyTree
from imgrec_jax.tasks import classification_report


@dataclass(frozen=True)
class Presentation:
    """What a task has to say beyond its metrics; by default nothing.

    Attributes:
        answer: `(outputs of Task.predict) -> what a user asked for`.
        report: `(rows, label names) -> JSON` of the whole evaluation of a split.
        lines: `(metrics, report, width) -> text` of both.
    """

    answer: Callable[[PyTree], PyTree] = lambda outputs: outputs
    report: Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]] = lambda rows, labels: {}
    lines: Callable[[Mapping[str, float], Mapping[str, Any], int], list[str]] = (
        lambda metrics, report, width: [f"  {name:<24} {metrics[name]:.4f}" for name in metrics]
    )


def _probabilities(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits.astype(jnp.float32))


PRESENTATIONS: Mapping[str, Presentation] = {
    "classify": Presentation(
        _probabilities, classification_report.report, classification_report.lines
    ),
}


def presentation(task: str) -> Presentation:
    """Return how a task is shown; one that is not in the table shows its metrics alone."""
    return PRESENTATIONS.get(task, Presentation())
