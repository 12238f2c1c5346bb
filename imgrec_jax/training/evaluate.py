"""Evaluate a whole split exactly: every example counts once."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from imgrec_jax.core import metrics
from imgrec_jax.core.task import PyTree
from imgrec_jax.training.step.compiled_steps import EvalProgram
from imgrec_jax.training.step.parallel import HostBatch, fetch

T = TypeVar("T")


class Evaluation(NamedTuple):
    """Result of an evaluation: scores, the underlying sums, and rows in data-set order."""

    metrics: dict[str, float]
    sums: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]


def evaluate(
    program: EvalProgram,
    compute_metrics: Callable[..., dict[str, float]],
    params: PyTree,
    model_state: PyTree,
    batches: Iterable[HostBatch],
) -> Evaluation:
    """Evaluate `batches`, each padded to the same size with a mask that is false in padding.

    For given outputs of the network, all scores are equal to the last digit for every batch size
    and any number of devices. (The outputs themselves may differ by rounding, as the compiler
    chooses another order of multiplications for other shapes.)
    """
    dispatched = (program(params, model_state, batch) for batch in batches)
    counts: metrics.Sums = {}
    others: metrics.Sums = {}
    kept: list[dict[str, np.ndarray]] = []
    for output in one_late(dispatched):
        batch_counts, terms, rows, mask = fetch(output)
        counts = metrics.add(counts, batch_counts)
        others = metrics.add_rows(others, {name: value[mask] for name, value in terms.items()})
        kept.append({name: value[mask] for name, value in rows.items()})
    rows = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    sums = {**counts, **others}
    return Evaluation(compute_metrics(sums, rows), sums, rows)


def one_late(items: Iterable[T]) -> Iterator[T]:
    """Yield each item after the next one is made, so that devices never wait for the host."""
    waiting: list[T] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
