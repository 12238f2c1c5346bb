"""Task wrapper that trains several networks at once, with `vmap` over their parameters."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from imgrec_jax.core.context import Context
from imgrec_jax.core.fields import SAMPLES
from imgrec_jax.core.rng import evaluation_keys, example_keys, init_key
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree, Task


def together(task: Task, seeds: Sequence[int]) -> Task:
    """Return the task that trains one network for each of k seeds, as if each were alone.

    Parameters, model state, counts and sums have a leading axis k. Outputs, rows and the arrays of
    training batches have it after their axis of examples, `[n, k, ...]`: each network has its own
    order of examples, and keys from its own seed. Evaluation batches are those of `task`, shared by
    all. The loss is the sum of all losses, so that gradients stay separate. Only random draws such
    as dropout differ from a network that is trained alone.

    `compute_metrics` returns the mean of each score over the networks, and also
    `accuracy[0]`, `accuracy[1]`, ... of each.
    """
    roots = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
    count_of_each = jax.vmap(task.count, in_axes=1)

    def init(key: Key[Array, ""], batch: Batch) -> tuple[PyTree, PyTree]:
        del key  # of the first seed; each network uses its own
        return jax.vmap(lambda root: task.init(init_key(root), batch))(roots)

    def count(batch: Batch) -> Counts:
        return count_of_each(_own_keys(roots, batch))

    def loss(params: PyTree, model_state: PyTree, batch: Batch, context: Context) -> LossOutput:
        def one(params: PyTree, model_state: PyTree, batch: Batch, own: PyTree) -> LossOutput:
            key, counts, ema = own
            own_context = dataclasses.replace(context, key=key, counts=counts, ema=ema)
            return task.loss(params, model_state, batch, own_context)

        own = jax.random.split(context.key, len(seeds)), context.counts, context.ema
        of_each = jax.vmap(one, in_axes=(0, 0, 1, 0))
        output = of_each(params, model_state, _own_keys(roots, batch), own)
        return output._replace(loss=output.loss.sum())

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> PyTree:
        def one(params: PyTree, model_state: PyTree, root: Key[Array, ""]) -> PyTree:
            keys = evaluation_keys(root, batch["index"])
            return task.predict(params, model_state, {**batch, "keys": keys})

        return jax.vmap(one, out_axes=1)(params, model_state, roots)

    return dataclasses.replace(
        task,
        init=init,
        count=count,
        loss=loss,
        predict=predict,
        metric_sums=jax.vmap(task.metric_sums, in_axes=(1, None)),
        compute_metrics=functools.partial(_compute_metrics, task, len(seeds)),
        rows=jax.vmap(task.rows, in_axes=(1, None), out_axes=1),
    )


def _compute_metrics(
    task: Task, networks: int, sums: Mapping[str, Any], rows: Mapping[str, Any]
) -> dict[str, float]:
    """Return the mean of each score over the networks, and the scores of each."""
    of_each = [
        task.compute_metrics(
            {name: value[k] for name, value in sums.items()},
            {name: value[:, k] for name, value in rows.items()},
        )
        for k in range(networks)
    ]
    means = {name: float(np.mean([one[name] for one in of_each])) for name in of_each[0]}
    return means | {
        f"{name}[{k}]": score for k, one in enumerate(of_each) for name, score in one.items()
    }


def _own_keys(roots: Key[Array, " k"], batch: Batch) -> Batch:
    """Return the batch with the keys that each network alone would give its examples."""
    keys = {
        f"{kind}keys": jax.vmap(example_keys, in_axes=(0, 1, 1), out_axes=1)(
            roots, batch[f"{kind}epoch"], batch[f"{kind}index"]
        )
        for kind in SAMPLES
        if f"{kind}keys" in batch
    }
    return {**batch, **keys}
