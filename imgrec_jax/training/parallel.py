"""One step on one device or on many: the only module that knows how devices are driven.

The pure step is written once. Here it is compiled for one device (`single`) or mapped over
all local devices (`pmap`), with the same signature either way: the state carries no device
axis, so a checkpoint does not know what ran it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import PyTree, Task
from imgrec_jax.training.step import make_eval_step, make_train_step, repeat

HostBatch = Mapping[str, np.ndarray]
MODES = ("auto", "pmap", "single")


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How steps are laid over devices.

    Attributes:
        mode: "single" or "pmap".
        devices: the local devices in use.
    """

    mode: str
    devices: tuple[jax.Device, ...]

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over which batch statistics must be added, or None."""
        return "data" if self.mode == "pmap" else None

    def place(self, tree: PyTree) -> PyTree:
        """Return a copy of `tree` laid out as the compiled steps want it.

        A copy, since steps donate their state: a mere view would be deleted with it.
        """
        copies = jax.tree.map(lambda x: x if _is_key(x) else np.array(x), tree)
        mesh = Mesh(np.asarray(self.devices), ("data",))
        return jax.device_put(copies, NamedSharding(mesh, PartitionSpec()))


def choose(mode: str, devices: Sequence[jax.Device]) -> Parallel:
    """Return the layout for a mode; "auto" maps over the devices where there are several."""
    if mode not in MODES:
        raise unknown("parallel.mode", mode, MODES)
    if mode == "auto":
        mode = "pmap" if len(devices) > 1 else "single"
    return Parallel(mode, tuple(devices) if mode == "pmap" else tuple(devices[:1]))


def check_batch_size(name: str, size: int, parallel: Parallel, micro_batches: int = 1) -> None:
    """Raise where a batch does not divide over micro-batches and devices."""
    parts = micro_batches * len(parallel.devices)
    if size > 0 and size % parts == 0:
        return
    near = sorted({max(parts, size // parts * parts), math.ceil(max(size, 1) / parts) * parts})
    raise UsageError(
        f"expected {name} to divide by {parts} ({len(parallel.devices)} devices x "
        f"{micro_batches} micro-batches), got {size}; try {' or '.join(map(str, near))}"
    )


class TrainProgram:
    """The compiled training step: `(state, batch, root_key) -> (state, metric_sums)`.

    `batch` is a host batch with leading axes [steps, batch_size]. Its steps run in one call;
    the state is donated. A program is either rolled (`steps_per_call > 1`: always a loop on
    the device, whatever the number of steps) or runs one step at a time, since the two differ
    in rounding. Arrays of `resident` lie on the device, and are gathered there by
    `batch["index"]` in place of being sent.
    """

    def __init__(
        self,
        task: Task,
        optimizer: optax.GradientTransformation,
        parallel: Parallel,
        *,
        steps_per_call: int = 1,
        micro_batches: int = 1,
        resident: HostBatch | None = None,
    ) -> None:
        self._parallel, self._micro_batches = parallel, micro_batches
        self._rolled = steps_per_call > 1
        self.traces = 0  # how often the step was traced, and so compiled
        self._resident = parallel.place(dict(resident or {}))
        step = make_train_step(
            task,
            optimizer,
            add_up=_add_up(parallel),
            shard=_shard(parallel),
            unroll=parallel.devices[0].platform == "cpu",
        )

        def call(state: TrainState, batch: Any, root: Any, resident: Any) -> Any:
            self.traces += 1

            def gather_and_step(state: TrainState, batch: Any, root: Any) -> Any:
                gathered = {name: array[batch["index"]] for name, array in resident.items()}
                return step(state, {**batch, **gathered}, root)

            run = repeat(gather_and_step) if self._rolled else gather_and_step
            return run(state, batch, root)

        if parallel.mode == "pmap":
            self._call = jax.pmap(
                call,
                axis_name=parallel.axis_name,
                in_axes=(None, 0, None, None),
                out_axes=None,  # pyright: ignore[reportArgumentType]
                donate_argnums=0,
                devices=parallel.devices,
            )
        else:
            self._call = jax.jit(call, donate_argnums=0)

    def __call__(self, state: TrainState, batch: HostBatch, root: Any) -> tuple[TrainState, Any]:
        """Run the batch's steps; dispatched, not waited for."""
        split = {name: self._split(array) for name, array in batch.items()}
        return self._call(state, split, root, self._resident)

    def _split(self, array: np.ndarray) -> np.ndarray:
        """[steps, batch, ...] -> [devices, steps, micro, examples, ...].

        The global batch is cut into micro-batches first, then over devices, so that which
        examples share a micro-batch does not depend on the device count. Axes of length one
        that the program does not have (devices in single mode, steps unless rolled) go away.
        """
        steps, size = array.shape[:2]
        micro, devices = self._micro_batches, len(self._parallel.devices)
        parts = array.reshape(steps, micro, devices, size // (micro * devices), *array.shape[2:])
        parts = parts if self._rolled else parts[0]
        axis = 2 if self._rolled else 1
        if self._parallel.mode == "pmap":
            return np.moveaxis(parts, axis, 0)
        return parts.squeeze(axis)


class EvalProgram:
    """The compiled evaluation: `(params, model_state, batch) -> (metric_sums, rows)`.

    `batch` is a host batch with leading axis [batch_size]; `rows` come back in its order.
    """

    def __init__(self, task: Task, parallel: Parallel) -> None:
        self._parallel = parallel
        self.traces = 0  # how often the step was traced, and so compiled
        step = make_eval_step(task, add_up=_add_up(parallel))

        def call(params: PyTree, model_state: PyTree, batch: Any) -> Any:
            self.traces += 1
            return step(params, model_state, batch)

        if parallel.mode == "pmap":
            self._call = jax.pmap(
                call,
                axis_name=parallel.axis_name,
                in_axes=(None, None, 0),
                out_axes=(None, 0),  # pyright: ignore[reportArgumentType]
                devices=parallel.devices,
            )
        else:
            self._call = jax.jit(call)

    def __call__(self, params: PyTree, model_state: PyTree, batch: HostBatch) -> tuple[Any, Any]:
        """Dispatch one batch; `fetch_rows` turns its rows into numpy."""
        if self._parallel.mode == "single":
            return self._call(params, model_state, dict(batch))
        devices = len(self._parallel.devices)
        split = {k: v.reshape(devices, len(v) // devices, *v.shape[1:]) for k, v in batch.items()}
        return self._call(params, model_state, split)

    def fetch_rows(self, rows: PyTree) -> dict[str, np.ndarray]:
        """Return rows as numpy with one leading example axis."""
        rows = fetch(rows)
        if self._parallel.mode == "single":
            return rows
        return {name: value.reshape(-1, *value.shape[2:]) for name, value in rows.items()}


def fetch(tree: PyTree) -> PyTree:
    """Return arrays as numpy: the one place where results come back from the devices."""
    return jax.device_get(tree)


def _add_up(parallel: Parallel) -> Any:
    axis = parallel.axis_name
    return (lambda tree: jax.lax.psum(tree, axis)) if axis else (lambda tree: tree)


def _shard(parallel: Parallel) -> Any:
    axis = parallel.axis_name
    return (lambda: jax.lax.axis_index(axis)) if axis else (lambda: 0)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
