"""Selection of the best step, checked against the scores of a run before it starts."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from imgrec_jax.config import Config
from imgrec_jax.core.rng import evaluation_keys
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import Batch, PyTree, Task
from imgrec_jax.data.loading.batches import EvalBatches
from imgrec_jax.data.sources.source import Splits
from imgrec_jax.training.checkpoints.best import Selection, read_selection
from imgrec_jax.training.evaluators import Evaluator


def build_selection(
    config: Config, task: Task, like: TrainState, splits: Splits, further: Sequence[Evaluator]
) -> Selection:
    """Return the selection of `checkpoint.best`.

    Args:
        config: of the run.
        task: of the run.
        like: its state; only shapes are used.
        splits: its data.
        further: its evaluators beside those of splits.

    Raises:
        UsageError: no evaluation of the val split measures that score.
    """
    selection = read_selection(config.checkpoint.best, task.headline)
    if config.checkpoint.best and "val" in splits:
        batch = EvalBatches(splits["val"], 1, ..., config.data.eval_sampling, config.seed)(0)
        names = [*_score_names(task, like, batch), *(s.name for e in further for s in e.scores)]
        selection.value({f"val_{name}": 0.0 for name in names})
    return selection


def _score_names(task: Task, like: TrainState, batch: dict[str, np.ndarray]) -> list[str]:
    """Return the names of the scores of a split, without computing anything on a device."""

    def evaluate(params: PyTree, model_state: PyTree, batch: Batch) -> tuple[Any, Any]:
        batch = {**batch, "keys": evaluation_keys(jax.random.key(0), batch["index"])}
        outputs = task.predict(params, model_state, batch)
        return task.metric_sums(outputs, batch), task.rows(outputs, batch)

    arrays = {name: array for name, array in batch.items() if array.dtype.kind in "biuf"}
    sums, rows = jax.eval_shape(evaluate, like.params, like.model_state, arrays)
    no_sums = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in sums.items()}
    no_rows = {name: np.zeros((0, *leaf.shape[1:]), leaf.dtype) for name, leaf in rows.items()}
    return list(task.compute_metrics(no_sums, no_rows))
