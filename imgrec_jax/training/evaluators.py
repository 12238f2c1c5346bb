"""Evaluators: measurements during training, each at its own interval."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imgrec_jax.core.task import PyTree, Score, Task
from imgrec_jax.training.evaluate import Evaluation, evaluate
from imgrec_jax.training.step.compiled_steps import EvalProgram
from imgrec_jax.training.step.parallel import HostBatch, Parallel

Found = dict[str, Evaluation]
"""Evaluation results by split."""


@dataclass(frozen=True)
class Evaluator:
    """One measurement: a pass over a split, a probe of features, a set of samples.

    Attributes:
        name: for messages and for its time account.
        every: epochs between two runs; it always runs after the last epoch.
        run: `(params, model_state) -> scores by split`, with weights on the devices. In a
            multi-process run, all processes call it.
        scores: the scores that it measures, with their direction.
        books: the account to which its time is added; its name by default.
    """

    name: str
    every: int
    run: Callable[[PyTree, PyTree], Mapping[str, Evaluation]]
    scores: tuple[Score, ...] = ()
    books: str = ""

    def due(self, epoch: int, last: int) -> bool:
        """Return whether it runs after an epoch, counted from 1, of a run of `last` epochs."""
        return epoch % self.every == 0 or epoch == last


def split_evaluators(
    task: Task,
    parallel: Parallel,
    passes: Mapping[str, Callable[[], Iterator[HostBatch]]],
    *,
    every: int,
    seed: int,
) -> list[Evaluator]:
    """Return an evaluator for each split; all share one compiled program.

    Args:
        task: the task to evaluate.
        parallel: the devices.
        passes: by split, a function that starts a pass over it.
        every: epochs between two evaluations.
        seed: of the run; the keys of examples derive from it.
    """
    program = EvalProgram(task, parallel, seed)  # compiled when it is first called

    def run(split: str, params: PyTree, model_state: PyTree) -> Found:
        batches = passes[split]()
        return {split: evaluate(program, task.compute_metrics, params, model_state, batches)}

    return [
        Evaluator(split, every, functools.partial(run, split), (task.headline,), books="eval")
        for split in passes
    ]


def by_split(found: Sequence[Mapping[str, Evaluation]]) -> Found:
    """Return the merged results of several evaluators: all scores, and the sums of the first."""
    merged: Found = {}
    for split, evaluation in (pair for one in found for pair in one.items()):
        if split in merged:
            metrics = {**merged[split].metrics, **evaluation.metrics}
            merged[split] = merged[split]._replace(metrics=metrics)
        else:
            merged[split] = evaluation
    return merged
