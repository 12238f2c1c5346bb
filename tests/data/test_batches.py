import numpy as np
import pytest
from small import pictures

from imgrec_jax.data.batches import EvalBatches, TrainBatches
from imgrec_jax.data.source import ArraySource, channel_statistics, fingerprint


@pytest.mark.parametrize(
    ("seed", "first", "second"),
    [
        (0, [0, 2, 1, 5, 4, 3, 6, 7], [5, 3, 7, 2, 4, 1, 0, 6]),
        (7, [4, 1, 6, 3, 2, 7, 5, 0], None),
    ],
)
def test_the_orders_are_the_same_with_every_numpy(seed, first, second):
    """Written down, since a resumed run may meet a newer NumPy."""
    batches = TrainBatches(pictures(8), 8, seed)
    assert batches(0)["index"][0].tolist() == first
    if second:
        assert batches(1)["index"][0].tolist() == second


def test_the_last_batch_is_padded_and_masked():
    batches = TrainBatches(pictures(10), 4, seed=0)
    last = batches(2)
    assert batches.steps_per_epoch == 3
    assert last["mask"][0].tolist() == [True, True, False, False]
    assert last["image"].shape == (1, 4, 6, 6, 3)
    assert last["image"].dtype == np.uint8


def test_batches_hold_the_examples_that_they_name():
    source = pictures(10)
    batch = TrainBatches(source, 4, seed=0)(0, 2)
    np.testing.assert_array_equal(batch["image"], source.images[batch["index"]])
    np.testing.assert_array_equal(batch["label"], source.labels[batch["index"]])


def test_resident_arrays_are_not_sent():
    batches = TrainBatches(pictures(10), 4, seed=0, resident=frozenset({"image", "label"}))
    assert set(batches(0)) == {"index", "mask", "epoch"}


def test_the_50000_pictures_of_cifar_make_782_steps():
    source = ArraySource(np.zeros((50_000, 1, 1, 1), np.uint8), np.zeros(50_000, np.int32), ("a",))
    assert TrainBatches(source, 64, seed=0).steps_per_epoch == 782


def test_evaluation_goes_through_in_order():
    batches = EvalBatches(pictures(10), 4)
    assert len(batches) == 3
    rows = [batches(i)["index"][batches(i)["mask"]].tolist() for i in range(3)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_fingerprint_names_the_content():
    splits = {"train": pictures(20), "test": pictures(5, seed=1)}
    name = fingerprint(splits)
    assert name == fingerprint({"test": pictures(5, seed=1), "train": pictures(20)})
    changed = pictures(20)
    changed.images[3, 0, 0, 0] ^= 1
    assert fingerprint({**splits, "train": changed}) != name
    relabelled = pictures(20)
    relabelled.labels[0] = (relabelled.labels[0] + 1) % 3
    assert fingerprint({**splits, "train": relabelled}) != name


def test_channel_statistics_by_hand():
    """Half the pixels 0 and half 255: mean 0.5, standard deviation 0.5; the other all 51."""
    images = np.zeros((2, 2, 2, 2), np.uint8)
    images[1, ..., 0] = 255
    images[..., 1] = 51
    mean, std = channel_statistics(ArraySource(images, np.zeros(2, np.int32), ("a",)))
    np.testing.assert_allclose(mean, [0.5, 0.2])
    np.testing.assert_allclose(std, [0.5, 1e-6], atol=1e-7)
