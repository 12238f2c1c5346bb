"""Starting from the parameters of another run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoint import Checkpoints, scored_step
from imgrec_jax.training.sharding import path_name
from imgrec_jax.training.workdir import Workdir

_ENCODER = "encoder/"


def warm_start(source: str, state: TrainState, say: Callable[[str], None]) -> TrainState:
    """Return `state` with the parameters of the run `source` wherever path and shape agree.

    A network that was trained whole also fits into the `encoder/` of another one.
    It takes those that the run is scored with: the moving average, where one was kept. The new
    run's own average begins there as well. What does not fit (a head for other classes) stays as
    it is, and is told. "" changes nothing.

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
        tree = checkpoints.restore_tree(step)
        scored = tree["ema"]["params"] if tree["ema"] else tree["params"]
    saved = {path_name(path): leaf for path, leaf in _paths(scored)}
    fresh = {path_name(path): leaf.shape for path, leaf in _paths(state.params)}
    places = {k: k if k in saved else k.removeprefix(_ENCODER) for k in fresh}
    taken = {k: saved[p] for k, p in places.items() if p in saved and saved[p].shape == fresh[k]}
    if not taken:
        raise UserError(
            f"expected parameters that fit in init_from={source}, got none: "
            f"{', '.join(saved)} there, {', '.join(fresh)} here; try the model it was made with"
        )
    say(f"{'init_from':>11}  {source}, step {step:,}: took {', '.join(sorted(taken))}")
    left = saved.keys() - {places[k] for k in taken}
    for what, rest in (("left there", left), ("made anew", fresh.keys() - taken.keys())):
        if rest:
            say(f"{what:>11}  {', '.join(sorted(rest))}")
    paths, tree = jax.tree_util.tree_flatten_with_path(state.params)
    merged = jax.tree.unflatten(tree, [taken.get(path_name(path), leaf) for path, leaf in paths])
    ema = {**state.ema, "params": merged} if state.ema else {}
    return dataclasses.replace(state, params=merged, ema=ema)  # pyright: ignore[reportArgumentType]


def _paths(tree: object) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)
