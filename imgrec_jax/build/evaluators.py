"""Evaluators by name, for `config.evaluators`: k-nearest-neighbour and linear-probe accuracy."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from imgrec_jax.analysis.linear_probe import fit_linear_probe
from imgrec_jax.analysis.neighbours import neighbour_votes
from imgrec_jax.build.batches import one_pass
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.ranges import COUNT
from imgrec_jax.core.task import Batch, PyTree, Score, Task
from imgrec_jax.data.sources.holdout import take
from imgrec_jax.data.sources.source import Source, Splits
from imgrec_jax.ops import classification_metrics
from imgrec_jax.training.evaluate import Evaluation, evaluate
from imgrec_jax.training.evaluators import Evaluator
from imgrec_jax.training.step.compiled_steps import EvalProgram
from imgrec_jax.training.step.parallel import Parallel


@dataclass(frozen=True)
class Scored:
    """Inputs of an evaluator.

    Attributes:
        task, config, parallel: of the run.
        splits: its data, including `train`.
    """

    task: Task
    config: Config
    parallel: Parallel
    splits: Splits


def neighbours(
    scored: Scored,
    k: Annotated[int, COUNT] = 20,
    every: Annotated[int, COUNT] = 1,
    examples: Annotated[int, COUNT] = 5000,
) -> Evaluator:
    """Return an evaluator of k-nearest-neighbour accuracy (cosine, on features) of other splits.

    Args:
        scored: the run.
        k: number of neighbours that vote.
        every: epochs between two runs.
        examples: of train at most, evenly spaced.
    """

    def accuracy(train: Evaluation, held_out: Evaluation, classes: int) -> float:
        known, queries = train.rows, held_out.rows
        votes = neighbour_votes(
            known["features"], known["label"], classes, queries["features"], neighbours=k
        )
        return classification_metrics.accuracy(votes, queries["label"])

    return _probe(scored, "neighbours", every, examples, accuracy)


def linear_probe(
    scored: Scored, every: Annotated[int, COUNT] = 1, examples: Annotated[int, COUNT] = 5000
) -> Evaluator:
    """Return an evaluator of ridge-regression accuracy (on features of train) of other splits.

    Args:
        scored: the run.
        every: epochs between two runs.
        examples: of train at most, evenly spaced.
    """

    def accuracy(train: Evaluation, held_out: Evaluation, classes: int) -> float:
        probe = fit_linear_probe(train.rows["features"], train.rows["label"], classes)
        return classification_metrics.accuracy(
            probe.scores(held_out.rows["features"]), held_out.rows["label"]
        )

    return _probe(scored, "linear_probe", every, examples, accuracy)


EVALUATORS: Mapping[str, Callable[..., Evaluator]] = {
    "linear_probe": linear_probe,
    "neighbours": neighbours,
}


def build_evaluators(scored: Scored) -> list[Evaluator]:
    """Return the evaluators of `config.evaluators`, such as "neighbours(k=20)|linear_probe".

    Raises:
        UsageError: unknown evaluator or setting.
    """
    calls = parse_pipeline(scored.config.evaluators)
    bound = [call._replace(args=(scored, *call.args)) for call in calls]
    return [bind_call("evaluator", call, EVALUATORS) for call in bound]


def _probe(
    scored: Scored,
    name: str,
    every: int,
    examples: int,
    accuracy: Callable[[Evaluation, Evaluation, int], float],
) -> Evaluator:
    """Return an evaluator that fits on features of train and scores the other splits."""
    task, parallel, config = featured(scored.task), scored.parallel, scored.config
    train = _evenly(scored.splits["train"], examples)
    program = EvalProgram(task, parallel, config.seed)

    def features(source: Source, params: PyTree, model_state: PyTree) -> Evaluation:
        batches = one_pass(source, config.eval_batch_size, parallel)
        return evaluate(program, task.compute_metrics, params, model_state, batches)

    def run(params: PyTree, model_state: PyTree) -> dict[str, Evaluation]:
        known = features(train, params, model_state)
        found = {}
        for split, source in scored.splits.items():
            if split != "train":
                queries = features(source, params, model_state)
                score = accuracy(known, queries, len(source.label_names))
                found[split] = Evaluation({name: score}, {}, {})
        return found

    return Evaluator(name, every, run, (Score(name),))


def featured(task: Task) -> Task:
    """Return the task whose rows are the `features` of its outputs and the labels.

    Raises:
        UsageError: during tracing, if outputs hold no features.
    """

    def rows(outputs: Any, batch: Batch) -> dict[str, Any]:
        if not isinstance(outputs, Mapping) or "features" not in outputs:
            raise UsageError(
                "expected a task whose outputs hold 'features' for this evaluator, got none; "
                "try evaluators=''"
            )
        features = outputs["features"].astype(jnp.float32)
        return {"features": features.reshape(len(features), -1), "label": batch["label"]}

    return dataclasses.replace(
        task,
        rows=rows,
        metric_sums=lambda outputs, batch: {"examples": batch["mask"].sum(dtype=jnp.int32)},
        compute_metrics=lambda sums, rows: {},
    )


def _evenly(source: Source, count: int) -> Source:
    """Return at most `count` evenly spaced examples of a source."""
    if len(source) <= count:
        return source
    return take(source, np.unique(np.linspace(0, len(source) - 1, count).astype(np.int64)))
