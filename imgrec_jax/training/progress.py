"""Progress of a run: new or restored, and the metadata of its checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from imgrec_jax.core import metrics
from imgrec_jax.core.state import TrainState
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.workdir.provenance import versions


@dataclass
class Progress:
    """Progress of a run, apart from its state. Checkpoints include it.

    Attributes:
        step: optimizer steps dispatched.
        seconds: time spent on compiling, training, evaluating and saving.
        window: sums since the last log event, so that the first event after a resume is the same
            as without the interruption.
        scores: of the evaluation at this step, if it was evaluated before the run was stopped.
    """

    step: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"compile": 0.0, "train": 0.0, "eval": 0.0, "save": 0.0}
    )
    window: metrics.Sums = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all but step and scores, which the checkpoint contains beside them."""
        window = {name: value.tolist() for name, value in self.window.items()}
        return {"seconds": dict(self.seconds), "window": window}


def checkpoint_meta(
    experiment: Experiment, scores: Mapping[str, float], progress: Progress
) -> dict[str, Any]:
    """Return the metadata of a checkpoint, as JSON."""
    return {
        **experiment.outputs.facts,
        "metrics": scores,
        "fingerprint": experiment.data.fingerprint(),
        "versions": versions(),
        "progress": {**progress.to_json(), "devices": len(experiment.parallel.devices)},
    }


def count_parameters(state: TrainState) -> int:
    """Return the number of trained parameters."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))


def begin_or_restore(
    experiment: Experiment,
    checkpoints: Checkpoints,
    state: TrainState,
    print_line: Callable[[str], None],
) -> tuple[TrainState, Progress]:
    place, devices = experiment.parallel.place, len(experiment.parallel.devices)
    restored = checkpoints.restore_newest(state)
    if restored is None:
        warm = experiment.warm_start(state, print_line)
        return (state if warm is state else place(warm)), Progress()
    state, meta = restored
    saved = meta["progress"]
    print_line(f"{'resumed':>11}  at step {int(state.step):,}")
    if meta["fingerprint"] != experiment.data.fingerprint():
        print_line("WARNING: the data has changed since this run started: try another --workdir")
    if saved["devices"] != devices:
        print_line(
            f"NOTE: begun on {saved['devices']} devices, now on {devices}: no longer bit for bit"
        )
    window = {name: np.asarray(value) for name, value in saved["window"].items()}
    progress = Progress(int(state.step), saved["seconds"], window, meta["metrics"])
    return place(state), progress


def passed(every: int, first: int, following: int) -> bool:
    """Return whether a multiple of `every` lies after step `first` and up to `following`."""
    return following // every > first // every
