"""Convert between PyTorch tensors and our parameter trees; every tensor must be used.

PyTorch stores convolution kernels as [out, in, rows, columns], we as [rows, columns, in, out];
dense kernels as [out, in], we as [in, out]. Query, key and value may be one tensor in PyTorch.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.task import PyTree
from imgrec_jax.weights.detr import OTHER_OUTPUTS, detr
from imgrec_jax.weights.names import SCHEMES, TABLES
from imgrec_jax.weights.resize import resized

Tensors = Mapping[str, np.ndarray]

_TABLES = {**TABLES, "DETR": detr}
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_FIRST_BLOCKS = (
    ("block1/x", "stage1/block1/x"),
    ("stage1_block1/x",),
    ("stage1_block1/squeeze/x",),  # of an EfficientNet
)
COUNTERS = ("num_batches_tracked",)
"""Tensors that do not affect the outputs."""


class Place(NamedTuple):
    """The tensor of one of our leaves, and which of its three parts, or -1 for the whole."""

    tensor: str
    part: int


class Leaf(NamedTuple):
    """One of our leaves: its path in the variables and in the module, its shape and type."""

    keys: tuple[str, ...]
    path: str
    like: Any


def find_scheme(kind: str, names: Sequence[str]) -> str:
    """Return the naming scheme of a file: timm, torchvision or huggingface.

    It is the scheme that matches most names of the stem and the first block.

    Raises:
        UserError: no scheme matches for this kind of network.
    """
    names = list(map(_modern, names))
    rows = {row for modules in _FIRST_BLOCKS for row in _table(kind)(modules)}
    found = {
        scheme: sum(
            any(name.startswith(getattr(row, scheme).partition("[")[0]) for name in names)
            for row in rows
        )
        for scheme in SCHEMES
    }
    best = max(found, key=lambda scheme: found[scheme])
    if found[best] < 3:
        raise UserError(
            f"expected the tensors of a {kind} as timm, torchvision or Hugging Face name them, "
            f"got {', '.join(sorted(names)[:5])} ...; try another model"
        )
    return best


def read_variables(
    tensors: Tensors, like: PyTree, *, kind: str, scheme: str, head: bool = True
) -> PyTree:
    """Return variables of the shapes of `like`, a tree with `params` and other collections.

    Args:
        tensors: by name in the scheme.
        like: what `module.init` returns, or its shapes.
        kind: the class name of the module, such as ViT.
        scheme: timm, torchvision or huggingface.
        head: if False, the file's last layer is ignored and ours is returned as in `like`; the
            same holds for a last norm and the like that `like` does not have.

    Raises:
        UserError: tensors are missing, unused or of another shape; all are listed.
    """
    tensors = {_modern(name): tensor for name, tensor in tensors.items()}
    leaves = _leaves(like)
    places = _places(leaves, kind, scheme)
    unused = {name for name in tensors if not name.endswith(COUNTERS)}
    wrong, read = [], []
    for leaf in leaves:
        place = places.get(leaf.path)
        is_head = leaf.path.startswith("head/")
        if place is not None:
            unused.discard(place.tensor)
        if is_head and not head:
            read.append(leaf.like)
        elif place is None or place.tensor not in tensors:
            wrong.append(f"missing {leaf.path} ({place.tensor if place else 'no such name'})")
        else:
            value = _ours(leaf, _part(tensors[place.tensor], place.part))
            if value.shape != leaf.like.shape:
                wrong.append(
                    f"misshapen {place.tensor} {value.shape} for {leaf.path} {leaf.like.shape}"
                )
            read.append(np.asarray(value, leaf.like.dtype))
    if not head:
        ours = {leaf.path.partition("/")[0] for leaf in leaves} - {"head"}
        behind = tuple(f"{getattr(r, scheme)}." for r in _table(kind)(()) if r.ours not in ours)
        unused -= {name for name in unused if name.startswith(behind)}
    wrong += [f"unused {name}" for name in sorted(unused)]
    if wrong:
        raise UserError(
            f"expected the tensors of this {kind} in {scheme}'s names, got {len(wrong)} that do "
            f"not fit: {'; '.join(wrong)}; try the model and settings they were made with"
        )
    return jax.tree.unflatten(jax.tree.structure(like), read)


def write_variables(variables: PyTree, *, kind: str, scheme: str) -> dict[str, np.ndarray]:
    """Return our variables as tensors in the names and the layout of a scheme.

    Raises:
        UsageError: unknown scheme.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"expected a scheme of {', '.join(SCHEMES)}, got '{scheme}'; try timm")
    leaves = _leaves(variables)
    places = _places(leaves, kind, scheme)
    parts: dict[str, dict[int, np.ndarray]] = {}
    for leaf in leaves:
        place = places[leaf.path]
        tensor = _theirs(leaf, np.asarray(leaf.like), scheme)
        parts.setdefault(place.tensor, {})[place.part] = tensor
    return {
        name: np.concatenate([some[i] for i in sorted(some)]) if len(some) > 1 else some[-1]
        for name, some in parts.items()
    }


def count_classes(tensors: Tensors, *, kind: str, scheme: str) -> int:
    """Return the number of classes of the file's last layer; 0 if it has none."""
    name = f"{_head_name(kind, scheme)}.weight"
    return len(tensors[name]) - OTHER_OUTPUTS.get(kind, 0) if name in tensors else 0


def _table(kind: str) -> Any:
    if kind not in _TABLES:
        raise UsageError(
            f"expected a network with published weights ({', '.join(_TABLES)}), got {kind}; "
            "try one of these"
        )
    return _TABLES[kind]


def _head_name(kind: str, scheme: str) -> str:
    return next(getattr(row, scheme) for row in _table(kind)(()) if row.ours == "head")


def _leaves(variables: PyTree) -> list[Leaf]:
    """Return all leaves; paths in `params` and in `batch_stats` have the same form."""
    found = []
    for keys, like in jax.tree_util.tree_leaves_with_path(variables):
        names = tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)
        found.append(Leaf(names, "/".join(names[1:]), like))
    return found


def _places(leaves: Sequence[Leaf], kind: str, scheme: str) -> dict[str, Place]:
    """Return the place of each leaf by its path."""
    paths = [leaf.path for leaf in leaves]
    rows = {row.ours: getattr(row, scheme) for row in _table(kind)(paths)}
    places = {}
    for path in paths:
        module, _, name = path.rpartition("/")
        if path in rows:  # a lone parameter
            places[path] = Place(rows[path], -1)
        elif module in rows:
            parent, part = re.fullmatch(r"(.*?)(?:\[(\d)\])?", rows[module]).groups()  # pyright: ignore[reportOptionalMemberAccess]
            dot = "" if parent.endswith("_") else "."
            places[path] = Place(f"{parent}{dot}{LEAVES[name]}", -1 if part is None else int(part))
    return places


def _part(tensor: np.ndarray, part: int) -> np.ndarray:
    return tensor if part < 0 or len(tensor) % 3 else np.split(tensor, 3)[part]


def _ours(leaf: Leaf, tensor: np.ndarray) -> np.ndarray:
    name = leaf.keys[-1]
    if name == "kernel":
        return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
    if name == "gamma":
        return tensor.reshape(-1)
    fitted = None if tensor.shape == leaf.like.shape else resized(name, tensor, leaf.like.shape)
    return tensor if fitted is None else fitted


def _theirs(leaf: Leaf, value: np.ndarray, scheme: str) -> np.ndarray:
    name = leaf.keys[-1]
    if name == "kernel":
        return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    if name == "gamma" and scheme == "torchvision":
        return value.reshape(-1, 1, 1)
    return value


def _modern(name: str) -> str:
    """Return the current torchvision name of a layer of its first ViTs."""
    return re.sub(r"\.mlp\.linear_([12])\.", lambda m: f".mlp.{3 * int(m[1]) - 3}.", name)
