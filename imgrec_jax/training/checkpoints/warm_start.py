"""Start training from the weights of another run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import TrainState
from imgrec_jax.core.task import PyTree
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.training.checkpoints.orbax import Checkpoints, scored_step
from imgrec_jax.training.workdir.files import Workdir

Fit = Callable[[str, Any, tuple[int, ...]], Any]
"""`(path, saved, shape) -> array` of that shape, or None if `saved` cannot be converted."""
_ENCODER = "encoder/"


def leave_out(path: str, saved: Any, shape: tuple[int, ...]) -> None:
    """Return None: arrays of another shape are not loaded."""
    del path, saved, shape


def warm_start(
    source: str, state: TrainState, print_line: Callable[[str], None], fit: Fit = leave_out
) -> TrainState:
    """Return `state` with the weights of the run `source` wherever path and shape match.

    The weights are parameters and batch statistics. A whole trained network also fits into the
    `encoder/` of another one. The loaded weights are those that the run is scored with: the moving
    average, if one was kept. The new run's own average starts from them too. Weights that do not
    fit (a head for other classes) keep their values, and are reported. "" changes nothing.

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
        scored = tree["ema"] or tree
    saved, fresh = _by_path(scored["params"]), _by_path(state.params)
    taken, left = _fitting(saved, fresh, fit)
    if not taken:
        raise UserError(
            f"expected parameters that fit in init_from={source}, got none: "
            f"{', '.join(saved)} there, {', '.join(fresh)} here; try the model it was made with"
        )
    print_line(f"{'init_from':>11}  {source}, step {step:,}: loaded {', '.join(sorted(taken))}")
    for what, rest in (("not loaded", left), ("initialised", fresh.keys() - taken.keys())):
        if rest:
            print_line(f"{what:>11}  {', '.join(sorted(rest))}")
    params = _with(state.params, taken)
    statistics, _ = _fitting(_by_path(scored["model_state"]), _by_path(state.model_state), fit)
    model_state = _with(state.model_state, statistics)
    ema = {"params": params, "model_state": model_state} if state.ema else {}
    return dataclasses.replace(state, params=params, model_state=model_state, ema=ema)  # pyright: ignore[reportArgumentType]


def _fitting(
    saved: dict[str, Any], fresh: dict[str, Any], fit: Fit
) -> tuple[dict[str, Any], set[str]]:
    """Return the leaves of `saved` that fit, by path in `fresh`, and the paths of the others.

    A saved path also matches after the names of a collection and of the encoder, as in
    `batch_stats/encoder/conv/mean`.
    """
    places = {k: k if k in saved else k.replace(_ENCODER, "", 1) for k in fresh}
    taken = {}
    for k, place in places.items():
        value, shape = saved.get(place), fresh[k].shape
        if value is not None and value.shape != shape:
            value = fit(k, value, shape)
        if value is not None:
            taken[k] = value
    return taken, saved.keys() - {places[k] for k in taken}


def _by_path(tree: PyTree) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _with(tree: PyTree, taken: dict[str, Any]) -> PyTree:
    """Return the tree with some leaves replaced, by path."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: taken.get(path_name(path), leaf), tree
    )
