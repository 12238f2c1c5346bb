"""Task wrapper that transforms the input batches of a task."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Array

from imgrec_jax.core.context import Context
from imgrec_jax.core.fields import PLACED, of_kind
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree, Task


def transform_inputs(
    task: Task, *, training: Callable[[Batch], Batch], scoring: Callable[[Batch], Batch]
) -> Task:
    """Return the task with batches transformed by `training` for the loss, else by `scoring`.

    Counts use spatial targets (see `fields.PLACED`) after `training`.
    """

    def init(key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
        return task.init(key, scoring(batch))

    def count(batch: Batch) -> Counts:
        return task.count(training(batch) if of_kind(batch, *PLACED) else batch)

    def loss(params: PyTree, model_state: PyTree, batch: Batch, context: Context) -> LossOutput:
        return task.loss(params, model_state, training(batch), context)

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> PyTree:
        return task.predict(params, model_state, scoring(batch))

    return dataclasses.replace(task, init=init, count=count, loss=loss, predict=predict)
