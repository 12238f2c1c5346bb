"""Build the batches of a run: for training, and for one pass over a held-out split."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from imgrec_jax.build.training_split import training_split
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.pipeline import parse_pipeline
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead, ahead
from imgrec_jax.data.loading.samplers import make_sampler
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.source import (
    ArraySource,
    Source,
    Splits,
    fingerprint,
    without_unlabelled,
)
from imgrec_jax.training.experiment import Data
from imgrec_jax.training.step.parallel import Parallel


def training_batches(
    config: Config, splits: Splits, devices: Parallel
) -> tuple[TrainBatches, dict[str, np.ndarray]]:
    """Return the training batches, and the arrays that stay on the device during the run."""
    train = training_split(config, splits)
    unlabelled = splits.get("unlabelled")
    _check_unlabelled(config, train, unlabelled)
    resident = _resident(train, devices.devices[0]) if unlabelled is None else {}
    batches = TrainBatches(
        train,
        config.batch_size,
        config.seed,
        resident=bool(resident),
        columns=devices.columns(config.batch_size, config.micro_batches),
        sampling=config.data.sampling,
        partners=bool(config.mix),
        unlabelled=unlabelled,
    )
    return batches, resident


def _check_unlabelled(config: Config, train: Source, unlabelled: Source | None) -> None:
    sampling = config.data.sampling
    if unlabelled is None:
        if any(call.name == "two_sources" for call in parse_pipeline(sampling)):
            raise UsageError(
                f"expected a second source in data.unlabelled for data.sampling={sampling}, "
                "got none; try --config.data.unlabelled=folder:PATH"
            )
    elif unlabelled.image_shape != train.image_shape:
        ours, theirs = ("x".join(map(str, s.image_shape)) for s in (train, unlabelled))
        raise UsageError(
            f"expected images of {ours} in data.unlabelled, as in data.source, got {theirs}; "
            "try --config.data.image_size"
        )


def build_data(
    config: Config,
    splits: Splits,
    batches: TrainBatches,
    resident: dict[str, np.ndarray],
    devices: Parallel,
    total_steps: int,
) -> Data:
    def broken() -> dict[str, dict[int, str]]:
        return {
            n: source.found for n, source in splits.items() if isinstance(source, DamageCounter)
        }

    def one_pass_over(source: Source) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
        return functools.partial(
            one_pass,
            source,
            config.eval_batch_size,
            devices,
            sampling=config.data.eval_sampling,
            seed=config.seed,
        )

    at_hand = all(_at_hand(s) for s in (batches.source, batches.unlabelled) if s is not None)
    held_out = {n: source for n, source in without_unlabelled(splits).items() if n != "train"}
    for source in held_out.values():
        _draws(source, config.data.eval_sampling, config.seed)  # raises errors here
    return Data(
        train=batches if at_hand else TrainBatchesAhead(batches, total_steps),
        passes={name: one_pass_over(source) for name, source in held_out.items()},
        resident=resident,
        fingerprint=functools.cache(functools.partial(fingerprint, splits)),
        broken=broken,
    )


def one_pass(
    source: Source,
    batch_size: int,
    devices: Parallel,
    *,
    sampling: str = "in_order",
    seed: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Return the batches of one pass over a source.

    Scores do not depend on the evaluation batch size, so the next size that divides is used.
    """
    parts = len(devices.devices)
    size = -(-min(batch_size, _draws(source, sampling, seed)) // parts) * parts
    batches = EvalBatches(source, size, devices.columns(size), sampling, seed)
    numbers = range(len(batches))
    return map(batches, numbers) if _at_hand(source) else ahead(batches, numbers)


def _draws(source: Source, sampling: str, seed: int) -> int:
    """Return the number of rows of a pass: examples of the source, or episodes."""
    settings = {"size": len(source), "batch_size": 1, "seed": seed, "labels": source.labels}
    return make_sampler(sampling, "data.eval_sampling", **settings).steps_per_epoch


def _at_hand(source: Source) -> bool:
    """Return whether examples are in memory, so that making a batch takes no time."""
    return isinstance(source, ArraySource)


def _resident(train: Source, device: jax.Device) -> dict[str, np.ndarray]:
    """Return the arrays that may stay on an accelerator: at most a quarter of its memory.

    On a CPU this saves nothing: host and device memory are the same.
    """
    if device.platform == "cpu" or not isinstance(train, ArraySource):
        return {}
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    if sum(array.nbytes for array in train.arrays.values()) > memory // 4:
        return {}
    return train.arrays
