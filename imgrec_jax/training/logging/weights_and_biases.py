"""Log to Weights & Biases if `log.wandb` is set; wandb is an optional dependency."""

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.training.step.histograms import Histogram
from imgrec_jax.training.workdir.files import Workdir

FILE = "wandb.json"


class WandbRun:
    """One run of Weights & Biases for one workdir; a resumed run continues it.

    Its own environment variables apply: WANDB_MODE=offline keeps everything in the workdir,
    WANDB_PROJECT names the project.

    Args:
        workdir: of the run.
        settings: the config, flat.

    Raises:
        UsageError: wandb is not installed.
        UserError: there is no account, or it cannot be reached.
    """

    def __init__(self, workdir: Workdir, settings: Mapping[str, Any]) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UsageError(
                "expected wandb for log.wandb=True, got none; try pip install 'imgrec_jax[wandb]'"
            ) from error
        self._wandb, self._exit_code = wandb, 1
        known = {"id": secrets.token_hex(4), **workdir.read_notes(FILE)}
        workdir.write_json(FILE, known)
        try:
            self._run: Any = wandb.init(
                id=known["id"],
                name=workdir.path.name,
                dir=workdir.path,
                config=dict(settings),
                resume="allow",
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"expected to log to Weights & Biases, got '{reason}'; try WANDB_MODE=offline"
            ) from error

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Add scores at a step, named as in TensorBoard."""
        self._run.log(dict(scores), step=step)

    def histograms(self, step: int, found: Mapping[str, Histogram]) -> None:
        """Add histograms at a step."""
        self._run.log(
            {
                name: self._wandb.Histogram(
                    np_histogram=(h.counts, np.linspace(h.low, h.high, len(h.counts) + 1))
                )
                for name, h in found.items()
            },
            step=step,
        )

    def finish(self) -> None:
        """Mark the run as finished."""
        self._exit_code = 0

    def close(self) -> None:
        """Send pending data; a run that is closed before its end is marked as failed for now."""
        self._run.finish(exit_code=self._exit_code)
