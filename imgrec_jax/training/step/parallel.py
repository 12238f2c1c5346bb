"""Layout of arrays and steps on devices: one device, mapped over several, or a mesh.

The state carries no device axis, so that a checkpoint does not know what ran it.

Every process reads its own columns of a global batch: with devices in the order of processes,
the part of each micro-batch that its devices work on.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.training.step.sharding import Rule, axis_to_cut

HostBatch = Mapping[str, np.ndarray]
MODES = ("auto", "mesh", "pmap", "shard_map", "single")
_EXAMPLES = ("data", "fsdp")  # both axes of the mesh share out examples


@dataclasses.dataclass(frozen=True)
class Parallel:
    """How steps are laid over devices.

    Attributes:
        mode: "single", "pmap", "shard_map" or "mesh".
        mesh: the devices of all processes, with axes (data, fsdp).
        rules: how parameters are cut over fsdp, before the rule of size.
        sync_batchnorm: add batch statistics over the devices. Without it, where the step is mapped,
            each device normalises by its own examples (ghost batch norm: Hoffer et al. 2017,
            "Train longer, generalize better", section 4), and the running statistics are their
            mean.
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
    def stacks(self) -> bool:
        """Whether programs take a batch with an axis of devices in front: pmap alone does."""
        return self.mode == "pmap"

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over which sums of shards are added, or None."""
        return "data" if self.mode in ("pmap", "shard_map") else None

    @property
    def shares_threads(self) -> bool:
        """Tell whether the devices are a CPU's, which work, and wait, on the same few threads."""
        return self.axis_name is not None and self.devices[0].platform == "cpu"

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

    def send(self, array: np.ndarray, axis: int) -> jax.Array:
        """Return this process's part of a batch as part of the global one, cut along an axis."""
        if self.mode == "single":
            return jax.device_put(array, self._replicated)
        sharding = NamedSharding(self.mesh, self.by_example(axis))
        return jax.make_array_from_process_local_data(sharding, array)

    def by_example(self, axis: int | None) -> PartitionSpec:
        """Return how an array is cut over the mesh along its axis of examples; None: not cut."""
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, _EXAMPLES)

    def keep_layout(self, state: PyTree) -> PyTree:
        """Return the state of a step, in the layout that `place` gave it; for compiled code."""
        if self.mode != "mesh":
            return state
        return jax.lax.with_sharding_constraint(state, self.shardings(state))

    def gather(self, tree: PyTree) -> PyTree:
        """Return what a step found, whole on every device; for compiled code."""
        if self.mode != "mesh":
            return tree
        return jax.lax.with_sharding_constraint(tree, self._replicated)

    def bytes_per_device(self, tree: PyTree) -> int:
        """Return how much of a state lies on each device; shapes are all that is looked at."""
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(self.shardings(tree)), strict=True)
        return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)

    @property
    def _replicated(self) -> NamedSharding:
        """Whole on every device; in pmap, which knows no global arrays, of this process."""
        if not self.stacks:
            return NamedSharding(self.mesh, PartitionSpec())
        return NamedSharding(Mesh(np.asarray(self.local_devices), ("data",)), PartitionSpec())


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
            f"expected parallel.mode=pmap, shard_map or mesh over {len(processes)} processes, "
            "got single; try --config.parallel.mode=auto"
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


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            _put(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x)
        )
    if isinstance(x, jax.Array) and not x.is_fully_addressable and not x.is_fully_replicated:
        return x
    copy = np.array(x)
    return jax.make_array_from_callback(copy.shape, sharding, lambda index: copy[index])
