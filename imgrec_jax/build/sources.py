"""Where pictures come from: the table of `kind:where`, and one function that opens it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.fields import PLACED, of_kind
from imgrec_jax.data.formats.cifar import open_cifar10, open_cifar100
from imgrec_jax.data.formats.cifar10 import find_cifar10
from imgrec_jax.data.formats.coco import open_coco
from imgrec_jax.data.formats.digits import open_digits
from imgrec_jax.data.formats.folder import Labelling, open_folder
from imgrec_jax.data.formats.huggingface import open_parquet
from imgrec_jax.data.formats.imagenet import open_imagenet
from imgrec_jax.data.formats.masks import open_masks
from imgrec_jax.data.formats.mnist import open_mnist
from imgrec_jax.data.formats.npz import open_npz
from imgrec_jax.data.formats.synthetic import SyntheticSource, open_synthetic
from imgrec_jax.data.formats.tfds import (
    open_array_record,
    open_tfds,
    prepared_folder,
    record_folder,
)
from imgrec_jax.data.formats.tfds_dense import open_record_boxes, open_record_masks
from imgrec_jax.data.formats.voc import open_voc
from imgrec_jax.data.images.decode import MAX_PIXELS, Form
from imgrec_jax.data.images.random_crop import RandomResizedCrop, read_crop
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.damaged import DamageCounter, check_policy
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.holdout import hold_out
from imgrec_jax.data.sources.source import Source, Splits, groups_of, targets_of
from imgrec_jax.data.sources.subset import part_of
from imgrec_jax.data.sources.wrapper import rebuilt
from imgrec_jax.data.workers.pool import with_workers

SOURCES: Mapping[str, Callable[[str, Config], Splits]] = {
    "array_record": lambda where, data: open_array_record(where, **_form(data)),
    "cifar10": lambda where, data: open_cifar10(where) if where else find_cifar10(data.dir),
    "cifar100": lambda where, data: open_cifar100(where),
    "coco": lambda where, data: open_coco(where, read_shape(data.image_shape), data.max_boxes),
    "digits": lambda where, data: open_digits(),
    "folder": lambda where, data: open_folder(where, _labelling(data), **_form(data)),
    "imagenet": lambda where, data: open_imagenet(where, **_form(data)),
    "masks": lambda where, data: open_masks(
        where, data.mask_values, read_shape(data.image_shape), **_form(data)
    ),
    "mnist": lambda where, data: open_mnist(where),
    "npz": lambda where, data: open_npz(where, image_size=data.image_size),
    "parquet": lambda where, data: open_parquet(
        where, columns=data.columns, group_by=_group_by(data), **_form(data)
    ),
    "synthetic": lambda where, data: open_synthetic(where),
    "tfds": lambda where, data: open_tfds(where, data.dir, **_form(data)),
    "voc": lambda where, data: open_voc(where, read_shape(data.image_shape), data.max_boxes),
}
DENSE_SOURCES: Mapping[tuple[str, str], Callable[[str, Config], Splits]] = {
    ("array_record", "boxes"): lambda where, data: _record_boxes(record_folder(where), data),
    ("array_record", "label_map"): lambda where, data: _record_masks(record_folder(where), data),
    ("tfds", "boxes"): lambda where, data: _record_boxes(prepared_folder(where, data.dir), data),
    ("tfds", "label_map"): lambda where, data: _record_masks(
        prepared_folder(where, data.dir), data
    ),
}
"""What a source gives, by the field that a task needs, in place of images with a class each."""
SHAPING_SOURCES = frozenset({"coco", "masks", "voc"})
"""Sources that bring pictures, with what is drawn on them, to `data.image_shape`."""
DECODING_SOURCES = frozenset({"array_record", "folder", "imagenet", "masks", "parquet", "tfds"})
"""Sources of encoded pictures, which become what `data.channels` and `data.dtype` ask for."""
RESIZING_SOURCES = DECODING_SOURCES | {"npz"}
"""Sources that bring pictures to `data.image_size`."""


def takes_shape(kind: str, needs: Sequence[str]) -> bool:
    """Tell whether a source brings images with the fields of a task to `data.image_shape`."""
    return kind in SHAPING_SOURCES or any((kind, name) in DENSE_SOURCES for name in needs)


def open_source(config: Config, needs: Sequence[str] = ("image",)) -> Splits:
    """Return the splits that `data.source` names, with val held out where that is asked for.

    Args:
        config: its block `data`, and its seed.
        needs: the fields that examples must hold, where a source has several forms of them; see
            `build.tasks.open_data`, which knows those of the config's task.

    Raises:
        UserError: the data cannot be read, or are not what the config says.
    """
    data = config.data
    kind, _, where = data.source.partition(":")
    if kind not in SOURCES:
        raise unknown("kind of data.source", kind, SOURCES)
    _check_shape(kind, config, needs)
    crop = read_crop(data.crop, config.seed)
    check_policy(data.broken)
    dense = [DENSE_SOURCES[kind, name] for name in needs if (kind, name) in DENSE_SOURCES]
    opener = dense[0] if dense else SOURCES[kind]
    # What is made anew for every batch cannot lie decoded in memory.
    with memory_limit.limited(0.0 if crop or data.broken != "raise" else data.memory_gb):
        splits = dict(opener(where, data))
    _check_form(kind, splits, config, needs)
    splits = _part(splits, config)
    if data.holdout and "train" in splits:
        if "val" in splits:
            raise UsageError(
                f"expected data.holdout=0 for {data.source}, which has a val split of its "
                f"own, got {data.holdout}; try --config.data.holdout=0"
            )
        groups = _groups(splits["train"], data)
        train, val = hold_out(splits["train"], data.holdout, config.seed, groups)
        splits["train"], splits["val"] = train, val
    if crop and "train" in splits:
        splits["train"] = rebuilt(splits["train"], partial(_cropped, crop=crop, data=data))
    if data.broken != "raise":
        skipping = partial(_skipping, data=data)
        splits = {name: rebuilt(source, skipping) for name, source in splits.items()}
    return splits


def _cropped(source: Source, crop: RandomResizedCrop, data: Config) -> Source:
    """Return the source with its images cut in another way in each epoch."""
    if isinstance(source, SyntheticSource):  # noise stays noise: a plan needs no files
        return source
    placed = of_kind(targets_of(source), *PLACED)  # it would not follow the crop
    if not isinstance(source, EncodedSource) or placed or not data.image_size:
        raise UsageError(
            f"expected data.crop='' for {data.source} at data.image_size={data.image_size}, got "
            f"'{data.crop}', which cuts encoded pictures to a size; "
            "try --config.data.image_size=224, or random_resized_crop in --config.augment"
        )
    return replace(source, crop=crop)


def _skipping(source: Source, data: Config) -> Source:
    """Return the source with damaged images reported in place of an error."""
    if not isinstance(source, EncodedSource):
        raise UsageError(
            f"expected data.broken=raise for {data.source}, whose pictures are decoded before the "
            f"run, got {data.broken}; try 'imgrec data inspect', which names damaged pictures"
        )
    return replace(source, skip_broken=True)


def for_reading(data: Config, splits: Splits) -> Splits:
    """Return the splits as batches are made of them: by workers, damaged pictures counted.

    `data` is the config's block, `splits` what `open_source` returns, relabelled or not.
    """
    splits = with_workers(splits, data.workers)
    if data.broken == "raise":
        return splits
    return {name: DamageCounter(source) for name, source in splits.items()}


def _part(splits: Splits, config: Config) -> Splits:
    """Return the splits with the classes and the number of examples that are asked for."""
    data = config.data
    return part_of(
        splits,
        data.source,
        classes=data.classes,
        examples_per_class=data.examples_per_class,
        seed=config.seed,
    )


def _form(data: Config) -> Form:
    return Form(
        image_size=data.image_size,
        center_crop=data.center_crop,
        channels=data.channels,
        dtype=data.dtype,
    )


def _record_boxes(folder: Path, data: Config) -> Splits:
    return open_record_boxes(folder, read_shape(data.image_shape), data.max_boxes)


def _record_masks(folder: Path, data: Config) -> Splits:
    shape = read_shape(data.image_shape)
    return open_record_masks(folder, data.mask_values, shape, **_form(data))


def read_shape(text: str) -> tuple[int, int] | None:
    """Return the (height, width) that `data.image_shape` spells; None for "", as they are.

    Raises:
        UsageError: it is not two numbers of pixels, or makes more than any picture may have.
    """
    if not text:
        return None
    sides = text.lower().split("x")
    if len(sides) == 2 and all(side.isdecimal() and int(side) > 0 for side in sides):
        height, width = map(int, sides)
        if height * width <= MAX_PIXELS:
            return height, width
    raise UsageError(
        f"expected data.image_shape of '' (as they are) or HEIGHTxWIDTH in pixels, got '{text}'; "
        "try --config.data.image_shape=120x160"
    )


def _labelling(data: Config) -> Labelling:
    return Labelling(data.label_pattern, data.columns, _group_by(data))


def _group_by(data: Config) -> str:
    """Return what to group by: only a split that is to be divided needs it."""
    return data.group_by if data.holdout else ""


def _groups(train: Source, data: Config) -> np.ndarray | None:
    groups = groups_of(train)
    if data.group_by and groups is None:
        raise UsageError(
            f"expected data.group_by='' for {data.source}, whose pictures have no names, got "
            f"'{data.group_by}'; try folder or parquet"
        )
    return groups


def _check_shape(kind: str, config: Config, needs: Sequence[str]) -> None:
    """Raise where `data.image_shape` is impossible, or not what a source can bring pictures to."""
    data = config.data
    if not read_shape(data.image_shape):
        return
    if data.image_size:
        raise UsageError(
            f"expected data.image_size=0 beside data.image_shape={data.image_shape}, got "
            f"{data.image_size}; try one of the two"
        )
    if not takes_shape(kind, needs):
        known = " or ".join(sorted(SHAPING_SOURCES))
        raise UsageError(
            f"expected data.image_shape='' for {kind}, whose pictures are square or come in one "
            f"size, got {data.image_shape}; try {known}, or data.image_size"
        )


def _check_form(kind: str, splits: Splits, config: Config, needs: Sequence[str]) -> None:
    """Raise where a source cannot bring pictures to the form that is asked for."""
    data = config.data
    size, channels = data.image_size, data.channels
    shapes = {split.image_shape for split in splits.values()}
    if size and any(shape[:2] != (size, size) for shape in shapes):
        if takes_shape(kind, needs):
            raise UsageError(
                f"expected data.image_size=0 for {kind}, whose pictures are not cut, got {size}; "
                f"try --config.data.image_shape={size}x{size}"
            )
        raise UsageError(
            f"expected data.image_size=0 for {kind}, which comes in one size, got {size}; "
            f"try {' or '.join(sorted(RESIZING_SOURCES))} for pictures of any size"
        )
    if data.center_crop != 1 and not (size and kind in DECODING_SOURCES):
        raise UsageError(
            f"expected data.center_crop=1 for {kind} with data.image_size={size}, where no square "
            f"is cut out of images, got {data.center_crop:g}; try --config.data.center_crop=1.0"
        )
    boxes = "boxes" in needs and (kind, "boxes") in DENSE_SOURCES
    fixed = kind not in DECODING_SOURCES or boxes
    if fixed and (data.dtype != "uint8" or any(channels not in (0, s[2]) for s in shapes)):
        raise UsageError(
            f"expected data.channels=0 and data.dtype=uint8 for {kind}, which comes in one form, "
            f"got {channels} and {data.dtype}; try {' or '.join(sorted(DECODING_SOURCES))}"
        )
