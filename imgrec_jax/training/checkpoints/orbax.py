"""Save and restore checkpoints: a small interface around Orbax's checkpoint manager."""

import itertools
import json
import logging
import os
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import PyTree
from imgrec_jax.training.checkpoints.best import Selection
from imgrec_jax.training.checkpoints.damage import damaged_metadata, repair_metadata, silence_orbax
from imgrec_jax.training.checkpoints.digests import DigestRestore, DigestSave, changed
from imgrec_jax.training.host.processes import is_first_process, meet
from imgrec_jax.training.workdir.files import Workdir

_LOGGER = logging.getLogger(__name__)
Meta = dict[str, Any]
_LONGEST_REASON = 200  # characters of an error of Orbax or TensorStore
_ROOM_FOR_NAMES = 1 << 20  # size of a checkpoint beside its arrays, rounded up


class Checkpoints:
    """The checkpoints of one run: an Orbax tree `state` and a JSON `meta` for each step.

    Arrays are saved as plain host arrays, so that checkpoints do not depend on the devices. Use as
    a context manager: on exit it waits for the last save.

    Args:
        folder: the folder of checkpoints, one sub-folder per step.
        keep: number of newest checkpoints to keep.
        best: selection of the best one, which is also kept, or None.
        read_only: change nothing, for use during a training.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 1,
        best: Selection | None = None,
        read_only: bool = False,
    ) -> None:
        silence_orbax()
        if not read_only:
            _repair(folder)
        policies: list[Any] = [preservation_policy.LatestN(keep)]
        best_fn = best.value if best else None
        if best_fn is not None:
            policies.append(
                preservation_policy.BestN(
                    get_metric_fn=best_fn, n=1, keep_checkpoints_without_metrics=False
                )
            )
        self._folder = folder
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
            best_fn=best_fn,  # the policy selects; without this, Orbax writes no metrics
            read_only=read_only,
        )
        try:
            self._manager = ocp.CheckpointManager(
                folder, options=options, handler_registry=_handlers()
            )
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"expected whole checkpoints in {folder}, got damage to "
                f"{', '.join(map(str, damaged_metadata(folder)))} ({_first_line(error)}); "
                "try the training command again, which repairs it"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        try:
            self._manager.close()
        except Exception as failure:
            if error is None:
                raise self._unwritten(failure) from failure

    @property
    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, meta: Mapping[str, Any], metrics: Mapping[str, float]) -> int:
        """Start saving and return the step, after the copy to the host but before the write.

        `state` is numpy, or arrays of which each process holds its part. `metrics` (empty between
        evaluations) determine the best checkpoint.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return step
        try:
            self._reserve(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
            meta = {**meta, "leaves": leaves(state)}
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),  # pyright: ignore[reportCallIssue]
                    meta=ocp.args.JsonSave(meta),  # pyright: ignore[reportCallIssue]
                    digests=DigestSave({"state": state, "meta": _as_array(meta)}),
                ),
                metrics=dict(metrics) or None,
            )
        except Exception as error:  # of this save, or of the previous one in the background
            raise self._unwritten(error) from error
        return step

    def restore_newest(self, like: TrainState) -> tuple[TrainState, Meta] | None:
        """Return the newest readable checkpoint, or None if there are no checkpoints.

        Raises:
            UsageError: a checkpoint belongs to another network or optimizer.
            UserError: there are checkpoints, but none is readable.
        """
        damaged: dict[int, UserError] = {}
        for step in reversed(self.steps):
            try:
                restored = self.restore(step, like)
            except UsageError:
                raise
            except UserError as error:
                damaged[step] = error
                continue
            for newer, error in damaged.items():
                _LOGGER.warning("%s; set aside as %s", error, self._set_aside(newer))
            return restored
        if damaged:  # they stay where they are, or the next start would begin anew
            raise UserError(
                f"expected a whole checkpoint in {self._folder}, got only damaged ones, the "
                f"newest: {next(iter(damaged.values()))}; try a copy of the folder, if there is "
                "one, or another --workdir to start afresh"
            )
        return None

    def wait(self) -> None:
        """Wait until the last save is on disk.

        Raises:
            UserError: it could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unwritten(error) from error

    def _set_aside(self, step: int) -> Path:
        """Move a damaged checkpoint aside so that its step can be saved again."""
        place = self._folder.parent / "damaged"
        place.mkdir(exist_ok=True)
        aside = next(p for n in itertools.count() if not (p := place / f"{step}_{n}").exists())
        meet("a damaged checkpoint is known to all")
        if is_first_process():
            (self._folder / str(step)).rename(aside)
        meet("a damaged checkpoint is set aside")
        self._manager.reload()
        return aside

    def read_meta(self, step: int) -> Meta:
        """Return the metadata of a checkpoint and its `leaves`, without its arrays.

        Raises:
            UserError: they are missing or damaged.
        """
        return self._read(step)["meta"]

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Meta]:
        """Return the state of `step` as numpy arrays in the shapes of `like`, and its metadata.

        Raises:
            UsageError: it belongs to another network or optimizer.
            UserError: it is missing or damaged.
        """
        meta = self.read_meta(step)
        # Orbax silently crops or pads an array of another shape.
        if changes := _changed_leaves(meta.pop("leaves"), leaves(like)):
            raise UsageError(
                f"expected the parameters of checkpoint {self._folder / str(step)}, got others:",
                *changes,
                "try the model and optimizer that it was trained with, or another --workdir",
            )
        target = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        return self._read_state(step, target), meta

    def restore_tree(self, step: int) -> PyTree:
        """Return all of `step` as nested dicts of numpy arrays, for any network.

        Raises:
            UserError: the checkpoint is missing or damaged.
        """
        return jax.tree.map(np.asarray, self._read_state(step))

    def _read_state(self, step: int, target: PyTree = None) -> Any:
        arguments: Any = ocp.args.StandardRestore(target)  # pyright: ignore[reportCallIssue]
        state = self._read(step, state=arguments)["state"]
        held = int(state.step if isinstance(state, TrainState) else state["step"])
        if held != step:
            raise self._unreadable(
                step, ValueError(f"it holds step {held:,}, try renaming the folder back")
            )
        return state

    def _read(self, step: int, **items: ocp.args.CheckpointArgs) -> dict[str, Any]:
        """Return `meta` and other items of a checkpoint, compared with their digests."""
        args = ocp.args.Composite(
            **items,
            meta=ocp.args.JsonRestore(),  # pyright: ignore[reportCallIssue]
            digests=DigestRestore(),
        )
        try:
            found = dict(self._manager.restore(step, args=args).items())
            saved = found.pop("digests")
            wrong = changed({**found, "meta": _as_array(found["meta"])}, saved)
        except Exception as error:  # Orbax and TensorStore raise many types
            raise self._unreadable(step, error) from error
        if wrong:
            raise self._unreadable(step, ValueError(f"{wrong[0]} is not what was saved"))
        return found

    def _reserve(self, size: int) -> None:
        """Raise if `size` bytes cannot be written: full disk, quota or file-size limit.

        Orbax detects this late, in threads that each print a traceback.
        """
        if not hasattr(os, "posix_fallocate"):  # macOS, Windows
            return
        with tempfile.TemporaryFile(dir=self._folder) as file:
            os.posix_fallocate(file.fileno(), 0, size + _ROOM_FOR_NAMES)

    def _unwritten(self, error: Exception) -> UserError:
        return UserError(
            f"expected to write a checkpoint in {self._folder}, got "
            f"'{getattr(error, 'strerror', None) or _first_line(error)}'; "
            "try again with room on the disk: earlier ones are intact"
        )

    def _unreadable(self, step: int, error: Exception) -> UserError:
        return UserError(
            f"checkpoint {self._folder / str(step)} cannot be read "
            f"({type(error).__name__}: {_first_line(error)[:_LONGEST_REASON]})"
        )


def _repair(folder: Path) -> None:
    for path in damaged_metadata(folder):
        if is_first_process():
            repair_metadata(path)
            _LOGGER.warning("%s was damaged, and is repaired; the checkpoint is whole", path)


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """Return the registry of save and restore arguments for each item of a checkpoint."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for item, *kinds in (
        ("state", ocp.args.StandardSave, ocp.args.StandardRestore),
        ("meta", ocp.args.JsonSave, ocp.args.JsonRestore),
        ("digests", DigestSave, DigestRestore),
    ):
        for kind in kinds:
            registry.add(item, kind)
    return registry


def scored_step(workdir: Workdir, checkpoints: Checkpoints) -> int:
    """Return the step scored in the run's result, or the newest step of an unfinished run."""
    result = workdir.read_result() or {}
    return result.get("step", checkpoints.steps[-1])


def _as_array(meta: Meta) -> np.ndarray:
    return np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def leaves(tree: PyTree) -> dict[str, str]:
    """Return shape and dtype of each leaf by path, such as `{".params['w']": "float32[2,3]"}`."""
    return {
        jax.tree_util.keystr(path): f"{x.dtype}[{','.join(map(str, x.shape))}]"
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def _changed_leaves(saved: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    pairs = {
        p: (saved.get(p, "nothing"), expected.get(p, "nothing")) for p in {**saved, **expected}
    }
    return [
        f"  {path}: {before} in the checkpoint, {now} here"
        for path, (before, now) in sorted(pairs.items())
        if before != now
    ]
