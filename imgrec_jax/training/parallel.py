"""One step on one device or on many: the only module that knows how devices are driven.

The pure step is written once. Here it is compiled for one device (`single`), mapped over the
devices of all processes (`pmap`), or compiled for a mesh that also cuts parameters (`mesh`).
The signature is the same each time, and the state carries no device axis, so that a checkpoint
does not know what ran it.

Every process reads its own columns of a global batch: with devices in the order of processes,
the part of each micro-batch that its devices work on.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import PyTree, Task
from imgrec_jax.training.histograms import histograms, kept_gradient
from imgrec_jax.training.sharding import Rule, axis_to_cut, path_name
from imgrec_jax.training.step import make_eval_step, make_train_step, repeat

HostBatch = Mapping[str, np.ndarray]
MODES = ("auto", "mesh", "pmap", "single")
_EXAMPLES = ("data", "fsdp")  # both axes of the mesh share out examples


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How steps are laid over devices.

    Attributes:
        mode: "single", "pmap" or "mesh".
        mesh: the devices of all processes, with axes (data, fsdp).
        rules: how parameters are cut over fsdp, before the rule of size.
        sync_batchnorm: add batch statistics over the devices. Without it, in pmap, each device
            normalises by its own examples (ghost batch norm: Hoffer et al. 2017, "Train longer,
            generalize better", section 4), and the running statistics are their mean.
    """

    mode: str
    mesh: Mesh
    rules: tuple[Rule, ...] = ()
    sync_batchnorm: bool = True

    @property
    def devices(self) -> tuple[jax.Device, ...]:
        """The devices in use, of all processes."""
        return tuple(self.mesh.devices.flat)

    @property
    def local_devices(self) -> tuple[jax.Device, ...]:
        """The devices in use of this process."""
        return tuple(d for d in self.devices if d.process_index == jax.process_index())

    @property
    def processes(self) -> int:
        """The number of processes that the devices belong to."""
        return len(self.devices) // len(self.local_devices)

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over which sums of shards are added, or None."""
        return "data" if self.mode == "pmap" else None

    @property
    def norm_axis(self) -> str | None:
        """The mapped axis over which batch statistics are added, or None."""
        return self.axis_name if self.sync_batchnorm else None

    def columns(self, batch_size: int, micro_batches: int = 1) -> np.ndarray | EllipsisType:
        """Return which columns of a global batch this process reads, in the order it sends them."""
        if self.processes == 1:
            return ...
        first = self.devices.index(self.local_devices[0]) // len(self.local_devices)
        columns = np.arange(batch_size).reshape(micro_batches, self.processes, -1)
        return columns[:, first].reshape(-1)

    def shardings(self, tree: PyTree) -> PyTree:
        """Return how each leaf of a state lies on the devices; shapes are all that is looked at."""
        if self.mode != "mesh":
            return jax.tree.map(lambda _: self._replicated, tree)
        parts = self.mesh.shape["fsdp"]

        def one(path: Any, leaf: Any) -> NamedSharding:
            axis = axis_to_cut(path_name(path), leaf.shape, parts, self.rules)
            spec = () if axis is None else (*[None] * axis, "fsdp")
            return NamedSharding(self.mesh, PartitionSpec(*spec))

        return jax.tree_util.tree_map_with_path(one, tree)

    def place(self, tree: PyTree) -> PyTree:
        """Return a copy of a state, laid out as the compiled steps want it.

        A copy, since steps donate their state: a mere view would be deleted with it. What lies
        on the devices of several processes already is left there.
        """
        return jax.tree.map(_put, tree, self.shardings(tree))

    def replicate(self, tree: PyTree) -> PyTree:
        """Return a copy that every device holds in whole."""
        return jax.tree.map(lambda x: _put(x, self._replicated), tree)

    def bytes_per_device(self, tree: PyTree) -> int:
        """Return how much of a state lies on each device; shapes are all that is looked at."""
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(self.shardings(tree)), strict=True)
        return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)

    @property
    def _replicated(self) -> NamedSharding:
        """Whole on every device; in pmap, which knows no global arrays, of this process."""
        if self.mode != "pmap":
            return NamedSharding(self.mesh, PartitionSpec())
        return NamedSharding(Mesh(np.asarray(self.local_devices), ("data",)), PartitionSpec())

    def _by_example(self, axis: int) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, _EXAMPLES))


def choose(
    mode: str,
    devices: Sequence[jax.Device],
    *,
    fsdp: int = 1,
    rules: tuple[Rule, ...] = (),
    sync_batchnorm: bool = True,
) -> Parallel:
    """Return the layout for a mode; "auto" maps over the devices where there are several.

    Raises:
        UsageError: no such mode, or a mode that does not fit the devices.
    """
    if mode not in MODES:
        raise unknown("parallel.mode", mode, MODES)
    processes = {device.process_index for device in devices}
    if mode == "auto":
        mode = "mesh" if fsdp > 1 else "pmap" if len(devices) > 1 else "single"
    if mode == "single" and len(processes) > 1:
        raise UsageError(
            f"expected parallel.mode=pmap or mesh over {len(processes)} processes, got single; "
            "try --config.parallel.mode=auto"
        )
    used = sorted(devices, key=lambda device: (device.process_index, device.id))
    used = used[:1] if mode == "single" else used
    if fsdp > 1 and mode != "mesh":
        raise UsageError(
            f"expected parallel.mode=mesh for parallel.fsdp={fsdp}, got {mode}; "
            "try --config.parallel.mode=mesh"
        )
    if len(used) % fsdp:
        raise UsageError(
            f"expected parallel.fsdp to divide the {len(used)} devices, got {fsdp}; "
            f"try --config.parallel.fsdp={math.gcd(fsdp, len(used))}"
        )
    mesh = Mesh(np.asarray(used).reshape(-1, fsdp), _EXAMPLES)
    return Parallel(mode, mesh, rules, sync_batchnorm)


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

    `batch` is a host batch with leading axes [steps, batch_size], or as many as this process
    reads of it. Its steps run in one call; the state is donated. A program is either rolled
    (`steps_per_call > 1`: always a loop on the device, whatever the number of steps) or runs
    one step at a time, since the two differ in rounding. Arrays of `resident` lie on the device,
    and are gathered there by `batch["index"]` (and `batch["partner_index"]`, where it is there)
    in place of being sent.
    """

    def __init__(
        self,
        task: Task,
        optimizer: optax.GradientTransformation,
        parallel: Parallel,
        *,
        steps_per_call: int = 1,
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
            add_up=_add_up(parallel),
            shard=_shard(parallel),
            settle=_settle(parallel),
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
            return _keep_layout(parallel, state), _gathered(parallel, sums)

        def count(state: TrainState, batch: Any, root: Any, resident: Any) -> Any:
            first = {name: array[0] for name, array in batch.items()} if self._rolled else batch
            looked, _ = look(state, {**first, **_look_up(resident, first)}, root)
            found = histograms({"params": state.params, "gradients": looked.opt_state})
            return _gathered(parallel, found)

        self._call = _compile(parallel, call, donate=True)
        self._count = _compile(parallel, count, donate=False)

    def __call__(self, state: TrainState, batch: HostBatch, root: Any) -> tuple[TrainState, Any]:
        """Run the batch's steps; dispatched, not waited for."""
        split = {name: self._split(array) for name, array in batch.items()}
        return self._call(state, split, root, self._resident)

    def histograms(self, state: TrainState, batch: HostBatch, root: Any) -> Any:
        """Return histograms of the parameters and of the gradient of a batch's first step.

        By path; on the device, for `fetch`. The state stays as it is.
        """
        split = {name: self._split(array) for name, array in batch.items()}
        bare = dataclasses.replace(state, opt_state=(), ema={})
        return self._count(bare, split, root, self._resident)

    def lower(self, state: PyTree, batch: HostBatch, root: Any) -> jax.stages.Lowered:
        """Return the program for such arguments, ready to be compiled; nothing runs.

        `state` and `root` may be shapes (`jax.ShapeDtypeStruct`).
        """
        split = {name: self._split(array) for name, array in batch.items()}
        if self._parallel.mode == "mesh":
            state = jax.tree.map(
                lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                state,
                self._parallel.shardings(state),
            )
        return self._call.lower(state, split, root, self._resident)

    def flops(self, lowered: jax.stages.Lowered) -> float:
        """Return the floating-point operations of a call over all devices, as XLA counts them."""
        counted = (lowered.cost_analysis() or {}).get("flops", 0.0)
        return counted * (len(self._parallel.devices) if self._parallel.mode == "pmap" else 1)

    def _split(self, array: np.ndarray) -> Any:
        """[steps, batch, ...] -> [devices, steps, micro, examples, ...].

        The global batch is cut into micro-batches first, then over devices, so that which
        examples share a micro-batch does not depend on the device count. Axes of length one
        that the program does not have (devices but in pmap, steps unless rolled) go away.
        """
        steps, size = array.shape[:2]
        micro, axis = self._micro_batches, 2 if self._rolled else 1
        devices = len(self._parallel.local_devices) if self._parallel.mode == "pmap" else 1
        parts = array.reshape(steps, micro, devices, size // (micro * devices), *array.shape[2:])
        parts = parts if self._rolled else parts[0]
        if self._parallel.mode == "pmap":
            return np.moveaxis(parts, axis, 0)
        return _send(self._parallel, parts.squeeze(axis), axis)


def _compile(parallel: Parallel, call: Callable[..., Any], *, donate: bool) -> Any:
    """Return the program `(state, batch, root, resident) -> ...`, as its mode compiles it."""
    donated = (0,) if donate else ()
    if parallel.mode != "pmap":
        return jax.jit(call, donate_argnums=donated)
    return jax.pmap(
        call,
        axis_name=parallel.axis_name,
        in_axes=(None, 0, None, None),
        out_axes=None,  # pyright: ignore[reportArgumentType]
        donate_argnums=donated,
        devices=parallel.devices,
    )


class EvalProgram:
    """The compiled evaluation: `(params, model_state, batch) -> (metric_sums, rows, mask)`.

    `batch` is a host batch with leading axis [batch_size], or as much as this process reads of
    it; `rows` and `mask` come back for the whole of it, in its order.
    """

    def __init__(self, task: Task, parallel: Parallel) -> None:
        self._parallel = parallel
        self.traces = 0  # how often the step was traced, and so compiled
        step = make_eval_step(task, add_up=_add_up(parallel))

        def call(params: PyTree, model_state: PyTree, batch: Any) -> Any:
            self.traces += 1
            sums, rows = step(params, model_state, batch)
            if parallel.axis_name:
                rows, mask = jax.lax.all_gather(
                    (rows, batch["mask"]), parallel.axis_name, tiled=True
                )
                return sums, rows, mask
            return _gathered(parallel, (sums, rows, batch["mask"]))

        if parallel.mode == "pmap":
            self._call = jax.pmap(
                call,
                axis_name=parallel.axis_name,
                in_axes=(None, None, 0),
                out_axes=None,  # pyright: ignore[reportArgumentType]
                devices=parallel.devices,
            )
        else:
            self._call = jax.jit(call)

    def __call__(
        self, params: PyTree, model_state: PyTree, batch: HostBatch
    ) -> tuple[Any, Any, Any]:
        """Dispatch one batch; `fetch` turns what comes back into numpy."""
        if self._parallel.mode == "pmap":
            count = len(self._parallel.local_devices)
            split = {k: v.reshape(count, len(v) // count, *v.shape[1:]) for k, v in batch.items()}
        else:
            split = {k: _send(self._parallel, v, 0) for k, v in batch.items()}
        return self._call(params, model_state, split)


def fetch(tree: PyTree) -> PyTree:
    """Return arrays as numpy: the one place where results come back from the devices."""
    return jax.device_get(tree)


def savable(tree: PyTree) -> PyTree:
    """Return a state as numpy, or as it is where this process does not hold all of it."""
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return fetch(tree)
    return tree


@jax.jit
def all_finite(tree: PyTree) -> jax.Array:
    """Return whether no number of a tree is NaN or infinite, bool[]."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _look_up(resident: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of resident arrays that a batch names, partners' among them."""
    kinds = [kind for kind in ("", "partner_") if f"{kind}index" in batch]
    return {
        f"{kind}{name}": array[batch[f"{kind}index"]]
        for kind in kinds
        for name, array in resident.items()
    }


def _send(parallel: Parallel, array: np.ndarray, axis: int) -> Any:
    """Return a process's part of a batch as part of the global array, sent to its devices."""
    if parallel.mode == "single":
        return jax.device_put(array, parallel._replicated)
    return jax.make_array_from_process_local_data(parallel._by_example(axis), array)


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            _put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x)
        )
    if isinstance(x, jax.Array) and not x.is_fully_addressable and not x.is_fully_replicated:
        return x
    copy = np.array(x)
    return jax.make_array_from_callback(copy.shape, sharding, lambda index: copy[index])


def _keep_layout(parallel: Parallel, state: TrainState) -> TrainState:
    if parallel.mode != "mesh":
        return state
    return jax.lax.with_sharding_constraint(state, parallel.shardings(state))


def _gathered(parallel: Parallel, tree: PyTree) -> PyTree:
    if parallel.mode != "mesh":
        return tree
    return jax.lax.with_sharding_constraint(tree, parallel._replicated)


def _add_up(parallel: Parallel) -> Any:
    axis = parallel.axis_name
    return (lambda tree: jax.lax.psum(tree, axis)) if axis else (lambda tree: tree)


def _settle(parallel: Parallel) -> Any:
    axis = parallel.axis_name
    if axis is None or parallel.sync_batchnorm:
        return lambda model_state: model_state
    return lambda model_state: jax.lax.pmean(model_state, axis)


def _shard(parallel: Parallel) -> Any:
    axis = parallel.axis_name
    return (lambda: jax.lax.axis_index(axis)) if axis else (lambda: 0)
