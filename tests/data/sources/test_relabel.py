import dataclasses

import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.relabel import relabel
from imgrec_jax.data.sources.source import ArraySource, gather

IMAGES = ArraySource(
    np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1),
    np.asarray([0, 1, 1, 0], np.int32),
    ("dog", "cat"),
)


@pytest.mark.parametrize("source", [IMAGES, Rows(IMAGES, np.arange(4))])
def test_classes_are_found_by_name(source):
    known = ("ant", "cat", "dog")
    found = relabel(source, known, "npz:x")
    assert found.label_names == known
    assert found.labels.tolist() == [2, 1, 1, 2]
    assert found.image_shape == (1, 1, 1)
    assert len(found) == 4
    batch = gather(found, np.asarray([3, 1]))
    assert batch["label"].tolist() == [2, 1]
    assert batch["image"].reshape(-1).tolist() == [3, 1]
    assert int(found[2]["label"]) == 1


MAPS = np.array([[[0, 1]], [[1, 255]], [[0, 0]]], np.uint8)
PARTS = ArraySource(
    np.zeros((3, 1, 2, 1), np.uint8),
    np.zeros(3, np.int32),
    ("dog", "cat"),
    targets={"box_label": np.array([[1, 0], [0, 0], [1, 1]], np.int32), "label_map": MAPS},
)


@pytest.mark.parametrize("source", [PARTS, Rows(PARTS, np.arange(3))])
def test_boxes_and_pixels_are_numbered_anew_and_images_without_a_class_stay(source):
    found = relabel(source, ("ant", "cat", "dog"), "voc:x")
    batch = gather(found, np.asarray([0, 1, 2]))
    assert batch["box_label"].tolist() == [[1, 2], [2, 2], [1, 1]]
    assert batch["label_map"].tolist() == [[[2, 1]], [[1, 255]], [[2, 2]]]
    assert batch["label_map"].dtype == np.uint8
    assert batch["label"].tolist() == found.labels.tolist() == [0, 0, 0]
    assert found[1]["box_label"].tolist() == [2, 2]


def test_the_same_order_stays_as_it_is():
    assert relabel(IMAGES, ("dog", "cat"), "") is IMAGES


def test_other_names_are_refused_in_one_line():
    names = tuple(f"n{k:03}" for k in range(40))
    strange = dataclasses.replace(IMAGES, label_names=("dog", "n001"))
    with pytest.raises(UsageError) as caught:
        relabel(strange, names, "folder:pets")
    assert "n009 and 30 more), got dog in folder:pets; try" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
