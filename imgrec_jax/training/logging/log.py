"""Training log: metrics.jsonl, TensorBoard events and the terminal."""

import contextlib
import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from imgrec_jax.core.text_table import terminal_width
from imgrec_jax.training.logging.tensorboard import Events
from imgrec_jax.training.logging.weights_and_biases import WandbRun
from imgrec_jax.training.step.histograms import Histogram
from imgrec_jax.training.workdir.config_changes import read_settings
from imgrec_jax.training.workdir.files import Workdir, as_user_errors

_WIDE = 110  # terminal columns with room for two scores and a bar
_PLAIN_LINE_SECONDS = 20  # seconds between lines without a terminal and its bar


class Log:
    """Writes each event to metrics.jsonl, to TensorBoard and, shortened, to the terminal.

    Args:
        workdir: where the files go; it holds the config.
        first_step, total_steps: range of the progress bar.
        steps_per_epoch: to show the epoch.
        wandb: also log to Weights & Biases.
    """

    def __init__(
        self,
        workdir: Workdir,
        *,
        first_step: int,
        total_steps: int,
        steps_per_epoch: int,
        wandb: bool,
    ) -> None:
        self._workdir, self._steps_per_epoch = workdir, steps_per_epoch
        config = workdir.read_config() or {}
        hyperparameters = read_settings(config)
        also = [WandbRun(workdir, hyperparameters)] if wandb else []  # first, because it may raise
        events = Events(workdir.path, first_step)
        self._writers = (events, *also)
        with self._write_errors():
            events.settings(config, hyperparameters)
        self._last_line_at = time.monotonic()
        with warnings.catch_warnings():  # no advice in a notebook without ipywidgets
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            unit="step",
            disable=None,  # silent if the output is not a terminal
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )

    def close(self) -> None:
        """Close the files and the bar."""
        for writer in self._writers:
            writer.close()
        self._bar.close()

    def finish(self) -> None:
        """Mark the run as finished."""
        with self._write_errors():
            for writer in self._writers:
                writer.finish()

    def histograms(self, step: int, found: Mapping[str, Histogram]) -> None:
        """Log histograms of a step, by name; those with non-finite numbers have no bins."""
        found = {name: of for name, of in found.items() if np.isfinite(of.squares)}
        with self._write_errors():
            for writer in self._writers:
                writer.histograms(step, found)

    def train(self, step: int, scores: Mapping[str, float]) -> None:
        """Log the training scores since the last event."""
        self._write("train", step, scores)
        rate = f"{scores['images_per_second']:,.0f} images/s"
        shown = 1 if 0 < terminal_width() < _WIDE else 2
        self._bar.set_description_str(f"epoch {self._epoch(step)}", refresh=False)
        self._bar.set_postfix_str(f"{_main_scores(scores, 'train', shown)}, {rate}", refresh=False)
        self._bar.update(step - self._bar.n)
        if self._bar.disable and time.monotonic() - self._last_line_at > _PLAIN_LINE_SECONDS:
            self._write_line(
                f"step {step:,}/{self._bar.total:,}  {_main_scores(scores, 'train')}, {rate}"
            )

    def evaluation(self, step: int, scores: Mapping[str, float]) -> None:
        """Log the scores of all splits at a step, with one line on the terminal."""
        self._write("eval", step, scores)
        splits = dict.fromkeys(name.partition("_")[0] for name in scores)
        parts = "  ".join(_main_scores(scores, split) for split in splits)
        self._write_line(f"epoch {self._epoch(step):>3}  {parts}")

    def _write_line(self, line: str) -> None:
        """Print a line above the bar."""
        self._last_line_at = time.monotonic()
        if self._bar.disable:
            print(line, flush=True)
        else:
            self._bar.write(line, file=sys.stdout)

    def _epoch(self, step: int) -> int:
        return -(-step // self._steps_per_epoch)

    def _write(self, kind: str, step: int, scores: Mapping[str, Any]) -> None:
        self._workdir.append_metrics({"kind": kind, "step": step, **scores})
        tagged = {_tag(name): value for name, value in scores.items()}
        with self._write_errors():
            for writer in self._writers:
                writer.scores(step, tagged)

    def _write_errors(self) -> contextlib.AbstractContextManager[None]:
        return as_user_errors(self._workdir.path / "events")


class SilentLog:
    """A log that discards all events, for all processes but the first."""

    def close(self) -> None: ...

    def finish(self) -> None: ...

    def histograms(self, step: int, found: Mapping[str, Histogram]) -> None: ...

    def train(self, step: int, scores: Mapping[str, float]) -> None: ...

    def evaluation(self, step: int, scores: Mapping[str, float]) -> None: ...


def _tag(name: str) -> str:
    """Return `train/loss` for `train_loss`, which groups the scores of a split."""
    split, _, score = name.partition("_")
    return f"{split}/{score}" if split in {"train", "val", "test"} else name


def _main_scores(scores: Mapping[str, float], split: str, most: int = 2) -> str:
    """Return `train loss 0.123 accuracy 0.456`: the first scores, at most `most`."""
    names = [name for name in scores if name.startswith(f"{split}_")][:most]
    return " ".join([split, *(f"{n.removeprefix(split + '_')} {scores[n]:.4f}" for n in names)])
