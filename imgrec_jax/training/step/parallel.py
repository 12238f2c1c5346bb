"""Layout of arrays and steps on devices: one device, mapped over several, or a mesh.

The state has no device axis, so that checkpoints do not depend on the devices.

Every process reads its own columns of a global batch: with devices in the order of processes,
its devices' part of each micro-batch.
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
_EXAMPLES = ("data", "fsdp")  # examples are split over both axes of the mesh


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Layout of steps on devices.

    Attributes:
        mode: "single", "pmap", "shard_map" or "mesh".
        mesh: the devices of all processes, with axes (data, fsdp).
        rules: how parameters are sharded over fsdp; they precede the rule by size.
        sync_batchnorm: reduce batch statistics over the devices. Without it, if the step is mapped,
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
        """Whether programs take a batch with a leading device axis: only in pmap."""
        return self.mode == "pmap"

    @property
    def axis_name(self) -> str | None:
        """The mapped axis over which the sums of shards are reduced, or None."""
        return "data" if self.mode in ("pmap", "shard_map") else None

    @property
    def shares_threads(self) -> bool:
        """Whether the devices are CPU devices, which compute and wait on the same few threads."""
        return self.axis_name is not None and self.devices[0].platform == "cpu"

    @property
    def norm_axis(self) -> str | None:
        """The mapped axis over which batch statistics are reduced, or None."""
        return self.axis_name if self.sync_batchnorm else None

    def columns(self, batch_size: int, micro_batches: int = 1) -> np.ndarray | EllipsisType:
        """Return the columns of a global batch that this process reads, in sending order."""
        if self.processes == 1:
            return ...
        first = self.devices.index(self.local_devices[0]) // len(self.local_devices)
        columns = np.arange(batch_size).reshape(micro_batches, self.processes, -1)
        return columns[:, first].reshape(-1)

    def shardings(self, tree: PyTree) -> PyTree:
        """Return the sharding of each leaf of a state; only shapes are used."""
        if self.mode != "mesh":
            return jax.tree.map(lambda _: self._replicated, tree)
        parts = self.mesh.shape["fsdp"]

        def one(path: Any, leaf: Any) -> NamedSharding:
            axis = axis_to_cut(path_name(path), leaf.shape, parts, self.rules)
            spec = () if axis is None else (*[None] * axis, "fsdp")
            return NamedSharding(self.mesh, PartitionSpec(*spec))

        return jax.tree_util.tree_map_with_path(one, tree)

    def place(self, tree: PyTree) -> PyTree:
        """Return a copy of a state in the layout of the compiled steps.

        It is a copy, since steps donate their state and would delete a view with it. Arrays that
        are already on the devices of several processes stay there.
        """
        return jax.tree.map(_put, tree, self.shardings(tree))

    def replicate(self, tree: PyTree) -> PyTree:
        """Return a copy that is replicated on every device."""
        return jax.tree.map(lambda x: _put(x, self._replicated), tree)

    def send(self, array: np.ndarray, axis: int) -> jax.Array:
        """Return this process's part of a batch as part of the global one, sharded on an axis."""
        if self.mode == "single":
            return jax.device_put(array, self._replicated)
        sharding = NamedSharding(self.mesh, self.by_example(axis))
        return jax.make_array_from_process_local_data(sharding, array)

    def by_example(self, axis: int | None) -> PartitionSpec:
        """Return the spec that shards an array along its axis of examples; None: not sharded."""
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, _EXAMPLES)

    def keep_layout(self, state: PyTree) -> PyTree:
        """Return the state of a step in the layout of `place`; for compiled code."""
        if self.mode != "mesh":
            return state
        return jax.lax.with_sharding_constraint(state, self.shardings(state))

    def gather(self, tree: PyTree) -> PyTree:
        """Return the results of a step, replicated on every device; for compiled code."""
        if self.mode != "mesh":
            return tree
        return jax.lax.with_sharding_constraint(tree, self._replicated)

    def bytes_per_device(self, tree: PyTree) -> int:
        """Return the bytes of a state on each device; only shapes are used."""
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(self.shardings(tree)), strict=True)
        return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)

    @property
    def _replicated(self) -> NamedSharding:
        """Replicated on every device; in pmap, which has no global arrays, on this process's."""
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
    """Return the layout for a mode; "auto" maps over the devices if there are several.

    Raises:
        UsageError: unknown mode, or a mode that does not fit the devices.
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
    """Raise if a batch does not divide evenly over micro-batches and devices."""
    parts = micro_batches * len(parallel.devices)
    if size > 0 and size % parts == 0:
        return
    near = sorted({max(parts, size // parts * parts), math.ceil(max(size, 1) / parts) * parts})
    raise UsageError(
        f"expected {name} to divide by {parts} ({len(parallel.devices)} devices x "
        f"{micro_batches} micro-batches), got {size}; try {' or '.join(map(str, near))}"
    )


def fetch(tree: PyTree) -> PyTree:
    """Return arrays as numpy: the only place where results are copied from the devices."""
    return jax.device_get(tree)


def savable(tree: PyTree) -> PyTree:
    """Return a state as numpy, or unchanged if this process does not hold all of it."""
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return fetch(tree)
    return tree


@jax.jit
def all_finite(tree: PyTree) -> jax.Array:
    """Return whether all numbers of a tree are finite, bool[]."""
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
