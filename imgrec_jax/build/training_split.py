"""Check that a data set can be trained on: it has a train split with the fields and classes."""

import numpy as np

from imgrec_jax.build.tasks import task_name, task_spec
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import CLASSES_OF_PARTS, LABEL, kind_of, of_kind
from imgrec_jax.data.sources.source import Source, Splits


def training_split(config: Config, splits: Splits) -> Source:
    """Return the train split.

    Raises:
        UsageError: there is none, it lacks a field that the task needs, it has fewer than two
            classes, or another split has a class that it lacks.
    """
    where = config.data.source
    if "train" not in splits:
        raise UsageError(
            f"expected training images under 'train' in {where}, got only "
            f"{', '.join(sorted(splits))}; try a path with train beside them, or "
            f"'imgrec evaluate RUN --data={where}' to score a run on it"
        )
    train, needs = splits["train"], task_spec(config).needs
    if missing := [name for name in needs if name not in train[0]]:
        raise UsageError(
            f"expected examples with '{missing[0]}' for task '{task_name(config)}', got none in "
            f"{where}; try another kind of data.source"
        )
    if any(kind_of(name) == LABEL for name in needs) and not of_kind(train[0], *CLASSES_OF_PARTS):
        _check_classes(train, splits, where)
    return train


def _check_classes(train: Source, splits: Splits, where: str) -> None:
    """Raise an error if a class has images, but none to learn it from."""
    if len(train.label_names) < 2:
        raise UsageError(
            f"expected at least two classes in {where}, got only "
            f"'{train.label_names[0] if train.label_names else ''}'; try adding another, or "
            "another path"
        )
    scored = {split: splits[split] for split in ("val", "test") if split in splits}
    for split, source in scored.items():
        unknown = np.setdiff1d(source.labels, train.labels)
        if len(unknown):
            raise UsageError(
                f"expected the classes of 'train' in '{split}' of {where}, got the class "
                f"'{train.label_names[unknown[0]]}', which has no training image; try removing "
                "or renaming it"
            )
