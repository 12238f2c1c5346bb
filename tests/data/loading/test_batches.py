import numpy as np
import pytest
from small import some_images

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.sources.source import ArraySource, channel_statistics, fingerprint


@pytest.mark.parametrize(
    ("seed", "first", "second"),
    [
        (0, [0, 2, 1, 5, 4, 3, 6, 7], [5, 3, 7, 2, 4, 1, 0, 6]),
        (7, [4, 1, 6, 3, 2, 7, 5, 0], None),
    ],
)
def test_the_orders_are_the_same_with_every_numpy(seed, first, second):
    """Written down, since a resumed run may meet a newer NumPy."""
    batches = TrainBatches(some_images(8), 8, seed)
    assert batches(0)["index"][0].tolist() == first
    if second:
        assert batches(1)["index"][0].tolist() == second


def test_the_last_batch_is_padded_and_masked():
    batches = TrainBatches(some_images(10), 4, seed=0)
    last = batches(2)
    assert batches.steps_per_epoch == 3
    assert last["mask"][0].tolist() == [True, True, False, False]
    assert last["image"].shape == (1, 4, 6, 6, 3)
    assert last["image"].dtype == np.uint8


def test_batches_hold_the_examples_that_they_name():
    source = some_images(10)
    batch = TrainBatches(source, 4, seed=0)(0, 2)
    np.testing.assert_array_equal(batch["image"], source.images[batch["index"]])
    np.testing.assert_array_equal(batch["label"], source.labels[batch["index"]])


def test_resident_arrays_are_not_sent():
    batches = TrainBatches(some_images(10), 4, seed=0, resident=True)
    assert set(batches(0)) == {"index", "mask", "epoch"}


def test_the_50000_images_of_cifar_make_782_steps():
    source = ArraySource(np.zeros((50_000, 1, 1, 1), np.uint8), np.zeros(50_000, np.int32), ("a",))
    assert TrainBatches(source, 64, seed=0).steps_per_epoch == 782


def test_evaluation_goes_through_in_order():
    batches = EvalBatches(some_images(10), 4)
    assert len(batches) == 3
    rows = [batches(i)["index"][batches(i)["mask"]].tolist() for i in range(3)]
    assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def skewed():
    """24 examples: 16 of class 0, 6 of class 1, none of class 2 and 2 of class 3."""
    labels = np.repeat([0, 1, 3], [16, 6, 2]).astype(np.int32)
    images = np.arange(24, dtype=np.uint8).reshape(24, 1, 1, 1)
    return ArraySource(images, labels, tuple("abcd"))


def draws(batches, steps):
    """Return labels, rows and visits of all valid draws of the first steps."""
    batch = batches(0, steps)
    return tuple(batch[name][batch["mask"]] for name in ("label", "index", "epoch"))


def test_balanced_batches_draw_every_class_once_a_round():
    batches = TrainBatches(skewed(), 7, seed=0, sampling="balanced")
    assert batches.steps_per_epoch == 4
    labels, rows, visits = draws(batches, 16)  # four epochs of 24 draws: 32 rounds of three
    np.testing.assert_array_equal(np.sort(labels.reshape(32, 3)), np.tile([0, 1, 3], (32, 1)))
    assert len(np.unique(labels.reshape(32, 3), axis=0)) == 6
    # 32 draws of each class: 2 visits of 16 examples, 5 or 6 of 6, 16 of 2.
    counts = np.bincount(rows, minlength=24)
    assert set(counts[:16]) == {2}
    assert set(counts[16:22]) == {5, 6}
    assert set(counts[22:]) == {16}
    assert visits[labels == 3].max() == 15


def test_no_visit_of_an_example_comes_twice():
    _, rows, visits = draws(TrainBatches(skewed(), 9, seed=0, sampling="balanced"), 12)
    assert len(set(zip(rows.tolist(), visits.tolist(), strict=True))) == 96
    assert visits[rows == 23].tolist() == list(range(16))


def test_balanced_batches_are_a_function_of_seed_and_step():
    batches = TrainBatches(skewed(), 7, seed=5, sampling="balanced")
    walked = batches(0, 9)
    for step in (8, 3):
        for name, value in TrainBatches(skewed(), 7, 5, sampling="balanced")(step).items():
            np.testing.assert_array_equal(value[0], walked[name][step], err_msg=name)
    other = TrainBatches(skewed(), 7, seed=6, sampling="balanced")(0, 9)
    assert not np.array_equal(other["index"], walked["index"])
    assert walked["mask"].sum(1).tolist() == [7, 7, 7, 3] * 2 + [7]


def test_the_balanced_order_is_the_same_with_every_numpy():
    """Written down, since a resumed run may meet a newer NumPy."""
    batch = TrainBatches(skewed(), 12, seed=0, sampling="balanced", partners=True)(0)
    assert batch["index"][0].tolist() == [19, 13, 23, 22, 16, 8, 21, 23, 0, 22, 7, 17]
    assert batch["partner_index"][0].tolist() == [17, 22, 21, 0, 23, 22, 7, 16, 23, 19, 8, 13]


def test_an_unknown_sampling_is_refused():
    with pytest.raises(UsageError, match="did you mean 'balanced'"):
        TrainBatches(skewed(), 4, 0, sampling="balance")


def test_partners_are_a_permutation_of_the_valid_rows_without_fixed_points():
    batches = TrainBatches(some_images(19), 8, seed=0, partners=True)
    seen = set()
    for step in range(6):
        batch = {name: value[0] for name, value in batches(step).items()}
        valid = batch["mask"]
        own, partner = batch["index"][valid], batch["partner_index"][valid]
        assert sorted(own) == sorted(partner)
        assert (own != partner).all()
        np.testing.assert_array_equal(batch["partner_index"][~valid], batch["index"][~valid])
        np.testing.assert_array_equal(batch["partner_epoch"], batch["epoch"])
        place = {row: i for i, row in enumerate(own)}
        seen.add(tuple(place[row] for row in partner))
    assert len(seen) == 6


def test_partners_bring_what_their_rows_hold():
    source = some_images(19)
    batch = TrainBatches(source, 8, seed=0, partners=True)(1, 2)
    for prefix in ("", "partner_"):
        rows = batch[f"{prefix}index"]
        np.testing.assert_array_equal(batch[f"{prefix}image"], source.images[rows])
        np.testing.assert_array_equal(batch[f"{prefix}label"], source.labels[rows])
    plain = TrainBatches(source, 8, seed=0)(1, 2)
    for name, value in plain.items():
        np.testing.assert_array_equal(batch[name], value, err_msg=name)


def test_a_row_without_others_is_its_own_partner():
    batch = TrainBatches(some_images(5), 4, seed=0, partners=True)(1)
    assert batch["mask"][0].tolist() == [True, False, False, False]
    np.testing.assert_array_equal(batch["partner_index"], batch["index"])


def test_partners_do_not_depend_on_which_process_reads_them():
    whole = TrainBatches(some_images(19), 8, seed=0, partners=True)(1, 2)
    columns = np.array([1, 4, 6])
    part = TrainBatches(some_images(19), 8, 0, columns=columns, partners=True)(1, 2)
    assert set(part) == set(whole)
    for name, value in part.items():
        np.testing.assert_array_equal(value, whole[name][:, columns], err_msg=name)


def test_an_image_is_read_once_though_it_has_a_partner():
    read = []

    class Counting:
        """Images that are read one by one."""

        def __init__(self):
            self.inner = some_images(16)
            self.labels, self.label_names = self.inner.labels, self.inner.label_names

        def __len__(self):
            return 16

        def __getitems__(self, rows):
            read.extend(rows)
            return self.inner.__getitems__(rows)

    TrainBatches(Counting(), 8, seed=0, partners=True)(0)
    assert len(read) == len(set(read)) == 8


def test_resident_partners_are_named_and_not_sent():
    batch = TrainBatches(some_images(10), 4, 0, resident=True, partners=True)(0)
    assert set(batch) == {"index", "mask", "epoch", "partner_index", "partner_epoch"}


def test_a_fingerprint_names_the_content():
    splits = {"train": some_images(20), "test": some_images(5, seed=1)}
    name = fingerprint(splits)
    assert name == fingerprint({"test": some_images(5, seed=1), "train": some_images(20)})
    changed = some_images(20)
    changed.images[3, 0, 0, 0] ^= 1
    assert fingerprint({**splits, "train": changed}) != name
    relabelled = some_images(20)
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
