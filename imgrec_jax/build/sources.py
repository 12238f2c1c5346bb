"""Open the splits of `data.source` in the form that the config requests."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from imgrec_jax.build.source_kinds import SourceSpec, kinds_that, read_shape, source_spec
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import PLACED, of_kind
from imgrec_jax.data.files import size_limit
from imgrec_jax.data.formats.synthetic import SyntheticSource
from imgrec_jax.data.images.random_crop import RandomResizedCrop, read_crop
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.holdout import hold_out
from imgrec_jax.data.sources.identical import joined, number_identical, warn_of_leaks
from imgrec_jax.data.sources.near_identical import NEAR_IDENTICAL, number_near_identical
from imgrec_jax.data.sources.similar_names import warn_of_similar_names
from imgrec_jax.data.sources.source import Source, Splits, groups_of, targets_of
from imgrec_jax.data.sources.subset import part_of
from imgrec_jax.data.sources.wrapper import rebuilt
from imgrec_jax.data.workers.pool import with_workers


def open_source(config: Config, needs: Sequence[str] = ("image",)) -> Splits:
    """Return the splits of `data.source`, with val held out if the config requests it.

    Args:
        config: its block `data`, and its seed.
        needs: the fields that examples must hold, if a source has several forms of them;
            `build.tasks.open_data` passes those of the config's task.

    Raises:
        UserError: the data cannot be read, or do not match the config.
    """
    data = config.data
    kind, _, where = data.source.partition(":")
    spec = source_spec(kind, needs)
    _check_shape(kind, spec, data)
    crop = read_crop(data.crop, config.seed)
    # Images that are cropped anew for every batch cannot stay decoded in memory.
    memory_gb = 0.0 if crop or data.broken != "raise" else data.memory_gb
    with memory_limit.limited(memory_gb), size_limit.limited(data.file_gb):
        splits = dict(spec.open(where, data))
    _check_form(kind, spec, splits, data)
    splits = _part(splits, config)
    warn_of_similar_names(next(iter(splits.values())).label_names, data.source)
    numbers = number_identical(splits) if data.holdout or len(splits) > 1 else {}
    warn_of_leaks(splits, numbers)
    if data.holdout and "train" in splits:
        if "val" in splits:
            raise UsageError(
                f"expected data.holdout=0 for {data.source}, which has its own val split, got "
                f"{data.holdout}; try --config.data.holdout=0"
            )
        groups = joined(_groups(splits["train"], data), numbers.get("train"))
        train, val = hold_out(splits["train"], data.holdout, config.seed, groups)
        splits["train"], splits["val"] = train, val
    if crop and "train" in splits:
        splits["train"] = rebuilt(splits["train"], partial(_cropped, crop=crop, data=data))
    if data.unlabelled:
        splits["unlabelled"] = _unlabelled(config, needs)
    if data.broken != "raise":
        skipping = partial(_skipping, data=data)
        splits = {name: rebuilt(source, skipping) for name, source in splits.items()}
    return splits


def _unlabelled(config: Config, needs: Sequence[str]) -> Source:
    """Return the training images of `data.unlabelled`, all of them, opened like `data.source`."""
    other: Config = config.copy_and_resolve_references()
    with other.unlocked():
        other.data.update(
            source=config.data.unlabelled,
            unlabelled="",
            classes="",
            examples_per_class=0,
            holdout=0.0,
            broken="raise",
        )
    splits = open_source(other, needs)
    if "train" not in splits:
        raise UsageError(
            f"expected a train split in data.unlabelled={config.data.unlabelled}, got "
            f"{', '.join(sorted(splits))}; try another source"
        )
    return splits["train"]


def _cropped(source: Source, crop: RandomResizedCrop, data: Config) -> Source:
    """Return the source with images cropped differently in each epoch."""
    if isinstance(source, SyntheticSource):  # cropping noise changes nothing: a plan needs no files
        return source
    placed = of_kind(targets_of(source), *PLACED)  # these targets would not follow the crop
    if not isinstance(source, EncodedSource) or placed or not data.image_size:
        raise UsageError(
            f"expected data.crop='' for {data.source} at data.image_size={data.image_size}, got "
            f"'{data.crop}', which cuts encoded images to a size; "
            "try --config.data.image_size=224, or random_resized_crop in --config.augment"
        )
    return replace(source, crop=crop)


def _skipping(source: Source, data: Config) -> Source:
    """Return the source with damaged images reported instead of raising an error."""
    if not isinstance(source, EncodedSource):
        raise UsageError(
            f"expected data.broken=raise for {data.source}, whose images are decoded before the "
            f"run, got {data.broken}; try 'imgrec data inspect', which names damaged images"
        )
    return replace(source, skip_broken=True)


def for_reading(data: Config, splits: Splits) -> Splits:
    """Return the splits as batches read them: with workers, and damaged images counted.

    `data` is the config's block, `splits` the result of `open_source`, relabelled or not.
    """
    splits = with_workers(splits, data.workers)
    if data.broken == "raise":
        return splits
    return {name: DamageCounter(source) for name, source in splits.items()}


def _part(splits: Splits, config: Config) -> Splits:
    """Return the splits with the requested classes and number of examples."""
    data = config.data
    return part_of(
        splits,
        data.source,
        classes=data.classes,
        examples_per_class=data.examples_per_class,
        seed=config.seed,
    )


def _groups(train: Source, data: Config) -> np.ndarray | None:
    if data.group_by == NEAR_IDENTICAL:
        return number_near_identical(train, data.source)
    groups = groups_of(train)
    if data.group_by and groups is None:
        raise UsageError(
            f"expected data.group_by='' for {data.source}, whose images have no names, got "
            f"'{data.group_by}'; try folder or parquet"
        )
    return groups


def _check_shape(kind: str, spec: SourceSpec, data: Config) -> None:
    """Raise if `data.image_shape` is invalid or not supported by the source."""
    if not read_shape(data.image_shape):
        return
    if data.image_size:
        raise UsageError(
            f"expected data.image_size=0 beside data.image_shape={data.image_shape}, got "
            f"{data.image_size}; try one of the two"
        )
    if not spec.shapes:
        known = kinds_that(lambda other: other.shapes)
        raise UsageError(
            f"expected data.image_shape='' for {kind}, whose images are square or come in one "
            f"size, got {data.image_shape}; try {known}, or data.image_size"
        )


def _check_form(kind: str, spec: SourceSpec, splits: Splits, data: Config) -> None:
    """Raise if a source cannot convert images to the requested form."""
    size, channels = data.image_size, data.channels
    shapes = {split.image_shape for split in splits.values()}
    if size and any(shape[:2] != (size, size) for shape in shapes):
        if spec.shapes:
            raise UsageError(
                f"expected data.image_size=0 for {kind}, whose images are not cut, got {size}; "
                f"try --config.data.image_shape={size}x{size}"
            )
        raise UsageError(
            f"expected data.image_size=0 for {kind}, which comes in one size, got {size}; "
            f"try {kinds_that(lambda other: other.resizes)} for images of any size"
        )
    if data.center_crop != 1 and not (size and spec.decodes):
        raise UsageError(
            f"expected data.center_crop=1 for {kind} with data.image_size={size}, where no square "
            f"is cut out of images, got {data.center_crop:g}; try --config.data.center_crop=1.0"
        )
    converts = data.dtype != "uint8" or any(channels not in (0, shape[2]) for shape in shapes)
    if converts and not spec.decodes:
        raise UsageError(
            f"expected data.channels=0 and data.dtype=uint8 for {kind}, which comes in one form, "
            f"got {channels} and {data.dtype}; try {kinds_that(lambda other: other.decodes)}"
        )
