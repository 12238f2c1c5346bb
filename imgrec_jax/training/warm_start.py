"""Starting from the parameters of another run."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoint import Checkpoints, scored_step
from imgrec_jax.training.workdir import Workdir


def warm_start(source: str, state: TrainState, say: Callable[[str], None]) -> TrainState:
    """Return `state` with the parameters of the run `source` wherever path and shape agree.

    What does not fit (a head for other classes) stays as it is, and is told. "" changes nothing.

    Raises:
        UserError: there is no checkpoint, or nothing fits.
    """
    if not source:
        return state
    workdir = Workdir(source)
    if not workdir.has_checkpoints():
        raise UserError(
            f"expected a run with checkpoints in init_from={source}, got none; try its workdir"
        )
    with Checkpoints(workdir.checkpoints, read_only=True) as checkpoints:
        step = scored_step(workdir, checkpoints)
        saved = _by_path(checkpoints.restore_params(step))
    fresh = _by_path(state.params)
    taken = {k: v for k, v in saved.items() if k in fresh and v.shape == fresh[k].shape}
    if not taken:
        raise UserError(
            f"expected parameters that fit in init_from={source}, got none: "
            f"{', '.join(saved)} there, {', '.join(fresh)} here; try the model it was made with"
        )
    say(f"{'init_from':>11}  {source}, step {step:,}: took {', '.join(sorted(taken))}")
    for what, names in (("left there", saved), ("made anew", fresh)):
        if rest := sorted(names.keys() - taken.keys()):
            say(f"{what:>11}  {', '.join(rest)}")
    paths, tree = jax.tree_util.tree_flatten_with_path(state.params)
    merged = [taken.get(_name(path), leaf) for path, leaf in paths]
    return dataclasses.replace(state, params=jax.tree.unflatten(tree, merged))  # pyright: ignore[reportArgumentType]


def _by_path(tree: object) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def _name(path: tuple[object, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
