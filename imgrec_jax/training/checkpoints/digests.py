"""Digests of the arrays of a checkpoint, to detect flipped bits before training continues.

Orbax and its file format detect missing and truncated files, but not every wrong byte. The digests
are a further item of the checkpoint, computed and written off the training thread before the
checkpoint is committed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import future

from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.training.host.processes import is_first_process

_FILE = "digests.json"


def digests(tree: PyTree) -> dict[str, str]:
    """Return a BLAKE2b digest of each numpy leaf by path; other leaves are omitted."""
    return {
        path_name(path): hashlib.blake2b(_bytes(leaf), digest_size=16).hexdigest()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if isinstance(leaf, np.ndarray | np.generic)
    }


def changed(tree: PyTree, saved: Mapping[str, str]) -> list[str]:
    """Return the paths of leaves that differ from what was saved.

    Leaves that were spread over processes have no digest. Another leaf without one counts as
    changed: its item then has a digest that belongs to no leaf, as after damage to a path.
    """
    own = digests(tree)
    items = {path.partition("/")[0] for path in own}
    damaged = any(path not in own and path.partition("/")[0] in items for path in saved)
    missing = "" if damaged else None
    return [path for path, digest in own.items() if saved.get(path, missing) not in {digest, None}]


def _bytes(leaf: np.ndarray | np.generic) -> memoryview:
    return np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data


class DigestHandler(ocp.AsyncCheckpointHandler):
    """Writes the digests of a tree as JSON, in the background, and reads them."""

    async def async_save(self, directory: Path, args: "DigestSave") -> list[future.Future]:
        async def write() -> None:
            if is_first_process():
                text = json.dumps(digests(args.tree))
                (directory / _FILE).write_text(text)

        return [future.CommitFutureAwaitingContractedSignals(write(), name="digests")]

    def save(self, directory: Path, args: "DigestSave") -> None:
        (directory / _FILE).write_text(json.dumps(digests(args.tree)))

    def restore(self, directory: Path, args: Any = None) -> dict[str, str]:
        del args
        return json.loads((directory / _FILE).read_text())


@ocp.args.register_with_handler(DigestHandler, for_save=True)
@dataclasses.dataclass
class DigestSave(ocp.args.CheckpointArgs):
    """Save argument: the tree to digest."""

    tree: PyTree


@ocp.args.register_with_handler(DigestHandler, for_restore=True)
@dataclasses.dataclass
class DigestRestore(ocp.args.CheckpointArgs):
    """Restore argument, empty: the digests are returned as a dict by path."""
