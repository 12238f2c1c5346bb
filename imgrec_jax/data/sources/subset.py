"""Select some classes of a data set, or a few examples of each."""

import csv
from fnmatch import fnmatchcase

import numpy as np

from imgrec_jax.core.errors import UsageError, did_you_mean
from imgrec_jax.data.sources.holdout import take
from imgrec_jax.data.sources.relabel import renumber
from imgrec_jax.data.sources.source import Source, Splits


def part_of(
    splits: Splits, where: str, *, classes: str = "", examples_per_class: int = 0, seed: int = 0
) -> Splits:
    """Return the splits with some of the classes, and a few training examples of each.

    Args:
        splits: of images with one class each.
        where: the name of the source, for messages.
        classes: see `select_classes`; "" for all.
        examples_per_class: of train; 0 for all.
        seed: of the random choice.
    """
    if classes:
        splits = select_classes(splits, classes, where)
    if examples_per_class and "train" in splits:
        few = draw_examples(splits["train"], examples_per_class, seed)
        splits = {**splits, "train": few}
    return splits


def select_classes(splits: Splits, patterns: str, where: str) -> Splits:
    """Return the splits with only the examples of some classes, numbered from 0.

    Args:
        splits: of images with one class each.
        patterns: comma-separated class names, or shell patterns such as "Greek*"; a name with a
            comma in double quotes. The classes keep the order of the source.
        where: the name of the source, for messages.

    Raises:
        UsageError: a pattern matches no class.
    """
    (cells,) = csv.reader([patterns], skipinitialspace=True)
    requested = [pattern.strip() for pattern in cells]
    return {name: _select(split, requested, where) for name, split in splits.items()}


def draw_examples(train: Source, per_class: int, seed: int) -> Source:
    """Return `per_class` random examples of each class, in the order of the source.

    With the same seed, the examples of a smaller number are a subset of those of a larger one.

    Raises:
        UsageError: a class has fewer examples.
    """
    counts = np.bincount(train.labels, minlength=len(train.label_names))
    if per_class > counts.min():
        raise UsageError(
            f"expected data.examples_per_class of {counts.min()} at most, which is all that there "
            f"are of '{train.label_names[counts.argmin()]}', got {per_class}; try "
            f"--config.data.examples_per_class={counts.min()}"
        )
    # raw bits: the only stream that NumPy promises never to change
    order = np.lexsort((np.random.PCG64(seed).random_raw(len(train)), train.labels))
    starts = np.cumsum(counts) - counts
    return take(train, np.sort(order[(starts[:, None] + np.arange(per_class)).ravel()]))


def _select(source: Source, patterns: list[str], where: str) -> Source:
    names = source.label_names
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not found:
            raise UsageError(
                f"expected data.classes to name classes of {where}, got '{pattern}'"
                f"{did_you_mean(pattern, names)}; try some of {', '.join(map(_quoted, names[:10]))}"
            )
        chosen |= found
    kept = tuple(name for name in names if name in chosen)
    numbers = np.asarray([kept.index(n) if n in chosen else -1 for n in names], np.int32)
    return renumber(take(source, np.flatnonzero(numbers[source.labels] >= 0)), kept, numbers)


def _quoted(name: str) -> str:
    """Return a class name as `data.classes` takes it."""
    return '"' + name.replace('"', '""') + '"' if set(name) & {",", '"'} else name
