"""A data set that is trained on has a train split with the classes of all splits."""

import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.training_split import training_split
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.source import ArraySource


def source(labels, names=("a", "b")):
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    return ArraySource(images, np.array(labels, np.int32), names)


def test_the_train_split_is_returned():
    splits = {"train": source([0, 1]), "test": source([1])}
    assert training_split(get_config("base"), splits) is splits["train"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": source([0])}, "images under 'train' in digits, got only test; try .* evaluate"),
        ({"train": source([0], ("a",))}, "at least two classes in digits, got only 'a'"),
        ({"train": source([0]), "val": source([1])}, "in 'val' of digits, got the class 'b', whi"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(splits, message):
    config = get_config("base", data__source="digits")
    with pytest.raises(UsageError, match=message):
        training_split(config, splits)


def test_boxes_have_classes_of_their_own():
    boxes = {"boxes": np.zeros((1, 1, 4), np.float32), "box_label": np.zeros((1, 1), np.int32)}
    train = ArraySource(
        np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int32), ("cup",), targets=boxes
    )
    config = get_config("base", task__name="detect")
    assert training_split(config, {"train": train}) is train
