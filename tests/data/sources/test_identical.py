"""Identical images stay on one side of a held-out split, and leaks between splits are reported."""

import io
import logging

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.sources import open_source
from imgrec_jax.data.sources import identical
from imgrec_jax.data.sources.holdout import take
from imgrec_jax.data.sources.identical import joined, number_identical
from imgrec_jax.data.sources.source import ArraySource, gather


def source_of(values, labels=None):
    """Images of 9x9 pixels: noise that depends on the value alone."""
    images = [
        np.random.default_rng(value).integers(0, 256, (9, 9, 3)).astype(np.uint8)
        for value in values
    ]
    labels = np.zeros(len(values), np.int32) if labels is None else np.asarray(labels, np.int32)
    return ArraySource(np.stack(images), labels, ("a", "b"))


def png(value):
    file = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(root, values):
    """Write `{split/class: values}` as images."""
    for folder, numbers in values.items():
        (root / folder).mkdir(parents=True)
        for row, value in enumerate(numbers):
            (root / folder / f"{row}.png").write_bytes(png(value))
    return f"folder:{root}"


def opened(source, **settings):
    return open_source(get_config("base", data__source=source, **settings))


def pixels_of(source):
    return {image.tobytes() for image in gather(source, np.arange(len(source)))["image"]}


def test_equal_images_of_all_splits_share_a_number():
    splits = {"train": source_of([1, 2, 1, 3]), "test": source_of([4, 2])}
    numbers = number_identical(splits)
    train, test = numbers["train"].tolist(), numbers["test"].tolist()
    assert train[0] == train[2]
    assert test[1] == train[1]
    assert len({*train, *test}) == 4


def test_one_pixel_makes_a_difference_at_any_place():
    images = np.zeros((82, 9, 9, 1), np.uint8)
    images.reshape(82, 81)[np.arange(81), np.arange(81)] = 1
    source = ArraySource(images, np.zeros(82, np.int32), ("a",))
    assert len(set(number_identical({"train": source})["train"].tolist())) == 82


def test_rows_of_a_source_are_compared(tmp_path):
    where = write(tmp_path, {"train/a": [1, 2], "train/b": [3, 1]})
    train = opened(where, data__memory_gb=0.0)["train"]
    numbers = number_identical({"train": take(train, np.array([3, 0, 2]))})["train"].tolist()
    assert numbers[0] == numbers[1] != numbers[2]


def test_connected_groups_are_joined():
    # 0-1 by the first, 1-2 by the second, 3 alone, 4-5 by both
    groups, others = np.array([7, 7, 2, 3, 9, 9]), np.array([0, 5, 5, 8, 1, 1])
    found = joined(groups, others)
    assert found is not None
    assert np.unique(found, return_inverse=True)[1].tolist() == [0, 0, 0, 1, 2, 2]
    assert joined(groups, np.arange(6)) is groups
    assert joined(None, others) is others
    assert joined(None, np.arange(6)) is None


@pytest.mark.parametrize("memory", [1.0, 0.0])
@pytest.mark.parametrize("seed", range(3))
def test_identical_images_are_held_out_together(tmp_path, memory, seed):
    values = {"a": [*range(20), *range(10)], "b": [*range(100, 120), *range(100, 110)]}
    where = write(tmp_path, values)
    splits = opened(where, data__holdout=0.3, data__memory_gb=memory, seed=seed)
    assert len(splits["train"]) + len(splits["val"]) == 60
    assert 12 <= len(splits["val"]) <= 24
    assert not pixels_of(splits["train"]) & pixels_of(splits["val"])


@pytest.mark.parametrize("memory", [1.0, 0.0])
def test_images_of_train_in_another_split_get_one_warning(tmp_path, caplog, memory):
    values = {"train/a": [1, 2], "train/b": [3, 4], "val/a": [5], "val/b": [6], "test/a": [7, 2, 3]}
    where = write(tmp_path, values)
    with caplog.at_level(logging.WARNING):
        opened(where, data__memory_gb=memory)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert messages[0].startswith("2 of the 3 images of test are also in train, the first ")
    assert (
        messages[0]
        .split("the first ")[1]
        .startswith(
            "test[1] = train[1]"
            if memory
            else f"{tmp_path}/test/a/1.png = {tmp_path}/train/a/1.png"
        )
    )


def test_many_encoded_images_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(identical, "MOST_READ", 3)
    where = write(tmp_path, {"train/a": [1, 2], "train/b": [3, 1]})
    assert number_identical(opened(where, data__memory_gb=0.0)) == {}
    assert number_identical(opened(where)) != {}
