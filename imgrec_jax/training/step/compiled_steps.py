"""Compile the training and evaluation steps for each parallel mode.

Only this module drives devices. The pure step is compiled for one device (`single`), mapped over
the devices of all processes (`pmap`, or `shard_map` instead), or compiled for a mesh that also
shards parameters (`mesh`). The signature is always the same.
"""

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import PartitionSpec

from imgrec_jax.core.fields import SAMPLES
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import PyTree, Task
from imgrec_jax.training.step.histograms import histograms, kept_gradient
from imgrec_jax.training.step.parallel import HostBatch, Parallel
from imgrec_jax.training.step.shards import shards_of
from imgrec_jax.training.step.train_step import make_eval_step, make_train_step, repeat

# XLA's CPU client runs programs with collectives one after the other, but hangs if 32 of them
# wait: they occupy the threads that its devices need, one each.
_MOST_WAITING = 8


class TrainProgram:
    """The compiled training step: `(state, batch, root_key) -> (state, metric_sums)`.

    `batch` is a host batch with leading axes [steps, batch_size], or this process's part of it.
    Its steps run in one call; the state is donated. A program is either rolled
    (`steps_per_call > 1`: always a loop on the device, whatever the number of steps) or runs
    one step at a time, since the two differ in rounding. Arrays of `resident` stay on the device.
    They are not sent but gathered there by `batch["index"]` (and `batch["partner_index"]`, if
    present).
    """

    def __init__(
        self,
        task: Task,
        optimizer: optax.GradientTransformation,
        parallel: Parallel,
        *,
        steps_per_call: int = 1,
        total_steps: int = 1,
        micro_batches: int = 1,
        ema_decay: float = 0.0,
        resident: HostBatch | None = None,
        gradient: GradientHook = as_it_is,
    ) -> None:
        self._parallel, self._micro_batches = parallel, micro_batches
        self._rolled = steps_per_call > 1
        self.traces = 0  # how often the step was traced, and so compiled
        self._resident = parallel.replicate(dict(resident or {}))
        make_step = functools.partial(
            make_train_step,
            task,
            total_steps=total_steps,
            shards=shards_of(parallel),
            ema_decay=ema_decay,
            unroll=parallel.devices[0].platform == "cpu",
            gradient=gradient,
        )
        step, look = make_step(optimizer), make_step(kept_gradient())

        def call(state: TrainState, batch: Any, root: Any, resident: Any) -> Any:
            self.traces += 1

            def gather_and_step(state: TrainState, batch: Any, root: Any) -> Any:
                return step(state, {**batch, **_look_up(resident, batch)}, root)

            run = repeat(gather_and_step) if self._rolled else gather_and_step
            state, sums = run(state, batch, root)
            return parallel.keep_layout(state), parallel.gather(sums)

        def count(state: TrainState, batch: Any, root: Any, resident: Any) -> Any:
            first = {name: array[0] for name, array in batch.items()} if self._rolled else batch
            looked, _ = look(state, {**first, **_look_up(resident, first)}, root)
            found = histograms({"params": state.params, "gradients": looked.opt_state})
            return parallel.gather(found)

        axes = (None, 2 if self._rolled else 1, None, None)
        self._call = _compile(parallel, call, axes, donate=(0,))
        self._waiting = _Waiting(parallel)
        self._count = _compile(parallel, count, axes)

    def __call__(self, state: TrainState, batch: HostBatch, root: Any) -> tuple[TrainState, Any]:
        """Dispatch the steps of a batch without waiting for them."""
        split = {name: self._split(array) for name, array in batch.items()}
        state, sums = self._call(state, split, root, self._resident)
        self._waiting.add(sums)
        return state, sums

    def histograms(self, state: TrainState, batch: HostBatch, root: Any) -> Any:
        """Return histograms of the parameters and of the gradient of the first step of a batch.

        They are by path, on the device, for `fetch`. The state does not change.
        """
        split = {name: self._split(array) for name, array in batch.items()}
        bare = dataclasses.replace(state, opt_state=())
        return self._count(bare, split, root, self._resident)

    def lower(self, state: PyTree, batch: HostBatch, root: Any) -> jax.stages.Lowered:
        """Return the lowered program for these arguments, ready to compile; nothing runs.

        `state` and `root` may be shapes (`jax.ShapeDtypeStruct`).
        """
        split = {name: self._split(array) for name, array in batch.items()}
        if self._parallel.mode in ("mesh", "shard_map"):
            state = jax.tree.map(
                lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                state,
                self._parallel.shardings(state),
            )
        return self._call.lower(state, split, root, self._resident)

    def flops(self, lowered: jax.stages.Lowered) -> float:
        """Return XLA's count of floating-point operations of a call over all devices."""
        counted = (lowered.cost_analysis() or {}).get("flops", 0.0)
        mapped = self._parallel.axis_name is not None  # XLA has counted the part of one device
        return counted * (len(self._parallel.devices) if mapped else 1)

    def _split(self, array: np.ndarray) -> Any:
        """Reshape [steps, batch, ...] -> [devices, steps, micro, examples, ...].

        The global batch is split into micro-batches first, then over devices, so that the
        examples of a micro-batch do not depend on the device count. Axes of length one that the
        program does not have (devices except in pmap, steps unless rolled) are removed.
        """
        steps, size = array.shape[:2]
        micro, axis = self._micro_batches, 2 if self._rolled else 1
        devices = len(self._parallel.local_devices) if self._parallel.stacks else 1
        parts = array.reshape(steps, micro, devices, size // (micro * devices), *array.shape[2:])
        parts = parts if self._rolled else parts[0]
        if self._parallel.stacks:
            return np.moveaxis(parts, axis, 0)
        return self._parallel.send(parts.squeeze(axis), axis)


class EvalProgram:
    """The compiled evaluation: `(params, model_state, batch) -> (counts, terms, rows, mask)`.

    `batch` is a host batch with leading axis [batch_size], or this process's part of it; `terms`,
    `rows` and `mask` are returned for the whole batch, in its order (see `make_eval_step`). The
    keys of examples depend only on `seed`.
    """

    def __init__(self, task: Task, parallel: Parallel, seed: int = 0) -> None:
        self._parallel = parallel
        self._root = parallel.replicate(jax.random.key(seed))
        self.traces = 0  # how often the step was traced, and so compiled
        shards = shards_of(parallel)
        step = make_eval_step(task, add_up=shards.add_up)

        def call(params: PyTree, model_state: PyTree, batch: Any, root: Any) -> Any:
            self.traces += 1
            counts, terms, rows = step(params, model_state, batch, root)
            return parallel.gather((counts, *shards.gather((terms, rows, batch["mask"]))))

        self._call = _compile(parallel, call, (None, None, 0, None))
        self._waiting = _Waiting(parallel)

    def __call__(
        self, params: PyTree, model_state: PyTree, batch: HostBatch
    ) -> tuple[Any, Any, Any, Any]:
        """Dispatch one batch; `fetch` converts the result to numpy."""
        if self._parallel.stacks:
            count = len(self._parallel.local_devices)
            split = {k: v.reshape(count, len(v) // count, *v.shape[1:]) for k, v in batch.items()}
        else:
            split = {k: self._parallel.send(v, 0) for k, v in batch.items()}
        found = self._call(params, model_state, split, self._root)
        self._waiting.add(found[0])
        return found


class _Waiting:
    """Limits the queue of dispatched calls on CPU devices."""

    def __init__(self, parallel: Parallel) -> None:
        self._bounded = parallel.shares_threads
        self._queue: deque[Any] = deque()

    def add(self, found: Any) -> None:
        """Add the result of a dispatched call; wait for an earlier one if there are many."""
        if not self._bounded:
            return
        self._queue.append(found)
        if len(self._queue) > _MOST_WAITING:
            jax.block_until_ready(self._queue.popleft())


def _compile(
    parallel: Parallel,
    call: Callable[..., Any],
    axes: Sequence[int | None],
    donate: Sequence[int] = (),
) -> Any:
    """Return the call, compiled for the parallel mode.

    Args:
        parallel: the devices.
        call: the function to compile; its result is the same on all devices.
        axes: for each argument, the axis of examples, along which it is split if the step is
            mapped; None: every device receives the whole argument.
        donate: arguments whose memory may be reused.
    """
    if parallel.mode == "shard_map":
        call = jax.shard_map(
            call,
            mesh=parallel.mesh,
            in_specs=tuple(map(parallel.by_example, axes)),
            out_specs=PartitionSpec(),
            # With the check, the gradient of replicated parameters is already summed over devices,
            # and the step would sum it again. Without it, the transpose of psum is psum, as in
            # pmap, and each device has the gradient of its own share.
            check_vma=False,
        )
    if not parallel.stacks:
        return jax.jit(call, donate_argnums=tuple(donate))
    return jax.pmap(
        call,
        axis_name=parallel.axis_name,
        in_axes=tuple(None if axis is None else 0 for axis in axes),
        out_axes=None,  # pyright: ignore[reportArgumentType]
        donate_argnums=tuple(donate),
        devices=parallel.devices,
    )


def _look_up(resident: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of resident arrays that a batch indexes, including those of partners."""
    kinds = [kind for kind in SAMPLES if f"{kind}index" in batch]
    return {
        f"{kind}{name}": array[batch[f"{kind}index"]]
        for kind in kinds
        for name, array in resident.items()
    }
