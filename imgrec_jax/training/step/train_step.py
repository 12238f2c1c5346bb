"""The training step and the evaluation step, as pure functions for every task."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from imgrec_jax.core.context import Context
from imgrec_jax.core.fields import SAMPLES
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.rng import evaluation_keys, example_keys, step_key
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree, Task
from imgrec_jax.training.step.shards import Shards

Sums = dict[str, Array]
TrainStep = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Sums]]
EvalStep = Callable[[PyTree, PyTree, Batch, Key[Array, ""]], tuple[Sums, Sums, dict[str, Array]]]


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    shards: Shards = Shards(),  # noqa: B008
    total_steps: int = 1,
    ema_decay: float = 0.0,
    unroll: bool = False,
    gradient: GradientHook = as_it_is,
) -> TrainStep:
    """Return `(state, batch, root_key) -> (state, metric_sums)`.

    The arrays of `batch` have two leading axes: micro-batches, then this shard's examples.
    The divisor of the loss is counted first, over all shards and micro-batches. Gradients then
    simply add up, and the step is exact under padding, accumulation and any number of
    devices.

    Args:
        task: what to train.
        optimizer: an optax optimizer.
        shards: operations over the shards of a batch; by default the step receives all of it.
        total_steps: of the run, for losses that change over it.
        ema_decay: weight of the old value in the moving average of the parameters; see `average`.
        unroll: unroll the loop over micro-batches; XLA's CPU convolutions are slow in a loop.
        gradient: wraps the gradient of the global batch, as SAM does.
    """

    def train_step(
        state: TrainState, batch: Batch, root: Key[Array, ""]
    ) -> tuple[TrainState, Sums]:
        # With keys: targets that augmentation moves out of an image must not be counted.
        count = jax.vmap(lambda part: task.count({**part, **_keys(root, part)}))
        counts = shards.add_up(_added_over_first_axis(count(batch)))
        batch = shards.wait(counts, batch)

        def loss(
            params: PyTree, model_state: PyTree, number: Array, part: Batch
        ) -> tuple[Array, LossOutput]:
            context = Context(
                key=step_key(root, state.step, shards.number(), number),
                counts=counts,
                step=state.step,
                total_steps=total_steps,
                ema=(state.ema["params"], state.ema["model_state"]) if state.ema else None,
                gather=shards.gather,
                add_up=shards.add_up,
            )
            output = task.loss(params, model_state, {**part, **_keys(root, part)}, context)
            return output.loss, output

        of_batch = _gradient_of_batch(loss, state.model_state, batch, shards, unroll)
        gradients, (model_state, metric_sums) = gradient(of_batch)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        model_state = shards.settle(model_state)
        new = {"params": params, "model_state": model_state}
        ema = average(state.ema, new, ema_decay, state.step) if state.ema else {}
        return TrainState(state.step + 1, params, model_state, opt_state, ema), metric_sums

    return train_step


def _gradient_of_batch(
    loss: Callable[..., tuple[Array, LossOutput]],
    model_state: PyTree,
    batch: Batch,
    shards: Shards,
    unroll: bool,
) -> Callable[[PyTree], tuple[PyTree, tuple[PyTree, Sums]]]:
    """Return `params -> (gradients, (model_state, metric_sums))` over micro-batches and shards."""

    def of_batch(params: PyTree) -> tuple[PyTree, tuple[PyTree, Sums]]:
        def one(model_state: PyTree, number: Array, part: Batch) -> tuple[PyTree, PyTree]:
            (_, output), share = jax.value_and_grad(loss, has_aux=True)(
                params, model_state, number, part
            )
            return output.model_state, (share, output.metric_sums)

        new_model_state, (share, sums) = _over_micro_batches(one, model_state, batch, unroll)
        gradients, metric_sums = shards.add_up((share, shards.wait(share, sums)))
        return gradients, (new_model_state, metric_sums)

    return of_batch


def _over_micro_batches(
    one: Callable[[PyTree, Array, Batch], tuple[PyTree, PyTree]],
    model_state: PyTree,
    batch: Batch,
    unroll: bool,
) -> tuple[PyTree, PyTree]:
    """Return the model state after all micro-batches, and the sums over them."""

    def accumulate(carry: PyTree, numbered: PyTree) -> tuple[PyTree, None]:
        model_state, so_far = carry
        model_state, more = one(model_state, *numbered)
        return (model_state, jax.tree.map(jnp.add, so_far, more)), None

    numbers = jnp.arange(_micro_batches(batch))
    numbered = (numbers, dict(batch))
    first = jax.tree.map(lambda x: x[0], numbered)
    rest = jax.tree.map(lambda x: x[1:], numbered)
    carry = one(model_state, *first)
    if len(numbers) > 1:
        carry, _ = jax.lax.scan(accumulate, carry, rest, unroll=unroll)
    return carry


def average(old: PyTree, new: PyTree, decay: float, step: Array) -> PyTree:
    """Return the moving average `d old + (1 - d) new`, d = min(decay, (1 + step) / (10 + step)).

    The smaller d of the first steps forgets the initial parameters (as in
    tf.train.ExponentialMovingAverage, `num_updates`). Values that are not floating-point are
    replaced, not averaged.
    """
    warm = (1.0 + step.astype(jnp.float32)) / (10.0 + step.astype(jnp.float32))
    d = jnp.minimum(decay, warm)

    def one(old: Array, new: Array) -> Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return (d * old + (1.0 - d) * new).astype(new.dtype)

    return jax.tree.map(one, old, new)


def repeat(step: TrainStep) -> TrainStep:
    """Return the step over a batch with a further leading axis: one step for each entry.

    The steps run in one rolled loop on the device, and their sums are added up.
    """

    def steps(state: TrainState, batches: Batch, root: Key[Array, ""]) -> tuple[TrainState, Sums]:
        state, sums = jax.lax.scan(lambda s, b: step(s, b, root), state, dict(batches))
        return state, _added_over_first_axis(sums)

    return steps


def make_eval_step(
    task: Task, *, add_up: Callable[[PyTree], PyTree] = lambda tree: tree
) -> EvalStep:
    """Return `(params, model_state, batch, root) -> (counts, terms, rows)`.

    `counts` are the whole numbers among the metric sums, of all shards. `terms` are the others, of
    each example: the host adds them up, since float32 sums depend on how examples are divided into
    batches and shards. Terms and rows stay on their shard.
    """

    def eval_step(
        params: PyTree, model_state: PyTree, batch: Batch, root: Key[Array, ""]
    ) -> tuple[Sums, Sums, dict[str, Array]]:
        batch = {**batch, "keys": evaluation_keys(root, batch["index"])}
        outputs = task.predict(params, model_state, batch)
        counts, _ = _counts_and_others(task.metric_sums(outputs, batch))
        _, terms = _counts_and_others(jax.vmap(_of_one(task.metric_sums))(outputs, batch))
        return add_up(counts), terms, task.rows(outputs, batch)

    return eval_step


def _of_one(metric_sums: Callable[[PyTree, Batch], Sums]) -> Callable[[PyTree, Batch], Sums]:
    """Return the metric sums as a function of the outputs and fields of one example."""

    def of_one(outputs: PyTree, example: Batch) -> Sums:
        return metric_sums(*jax.tree.map(lambda x: x[None], (outputs, example)))

    return of_one


def _counts_and_others(sums: Sums) -> tuple[Sums, Sums]:
    whole = {n: value for n, value in sums.items() if jnp.issubdtype(value.dtype, jnp.integer)}
    return whole, {name: value for name, value in sums.items() if name not in whole}


def _keys(root: Key[Array, ""], batch: Batch) -> dict[str, Key[Array, " n"]]:
    """Return a key for each example of each sample of the rows."""
    return {
        f"{kind}keys": example_keys(root, batch[f"{kind}epoch"], batch[f"{kind}index"])
        for kind in SAMPLES
        if f"{kind}index" in batch
    }


def _micro_batches(batch: Batch) -> int:
    return next(iter(batch.values())).shape[0]


def _added_over_first_axis(sums: Sums | Counts) -> Sums:
    # An explicit dtype, since numpy semantics widen int32 sums when x64 is enabled.
    return {name: value.sum(0, dtype=value.dtype) for name, value in sums.items()}
