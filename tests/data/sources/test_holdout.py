"""Held-out splits are stratified, exact in number, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.holdout import Rows, hold_out
from imgrec_jax.data.sources.source import ArraySource, gather


def source_of(labels, classes=3):
    """Images of one pixel whose red is the row."""
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return ArraySource(images, np.array(labels, np.int32), tuple("abcdefgh"[:classes]))


class Hidden:
    """The same source without the shortcuts of arrays in memory."""

    def __init__(self, source):
        self.source, self.reads = source, []
        self.labels, self.label_names = source.labels, source.label_names
        self.image_shape = source.image_shape

    def __len__(self):
        return len(self.source)

    def __getitem__(self, row):
        return self.source[row]

    def __getitems__(self, rows):
        self.reads.append(list(rows))
        return [self.source[row] for row in rows]


def rows_of(source):
    return gather(source, np.arange(len(source)))["image"][:, 0, 0, 0].tolist()


LABELS = [0] * 10 + [1] * 20 + [2] * 30
GOLDEN_0 = [3, 11, 20, 48, 53, 59]
GOLDEN_1 = [9, 16, 28, 36, 39, 55]


@pytest.mark.parametrize(
    ("amount", "held"),
    [(0.1, [1, 2, 3]), (6, [1, 2, 3]), (0.5, [5, 10, 15]), (1, [0, 0, 1]), (57, [9, 19, 29])],
)
def test_every_class_gives_its_share(amount, held):
    train, val = hold_out(source_of(LABELS), amount, seed=0)
    assert isinstance(val, ArraySource)
    assert np.bincount(val.labels, minlength=3).tolist() == held
    assert np.bincount(train.labels).tolist() == [10 - held[0], 20 - held[1], 30 - held[2]]
    assert sorted(rows_of(train) + rows_of(val)) == list(range(60))
    assert rows_of(train) == sorted(rows_of(train))
    assert rows_of(val) == sorted(rows_of(val))
    assert val.label_names == train.label_names == ("a", "b", "c")


def test_the_choice_is_the_same_for_all_time():
    assert rows_of(hold_out(source_of(LABELS), 6, seed=0)[1]) == GOLDEN_0
    assert rows_of(hold_out(source_of(LABELS), 6, seed=1)[1]) == GOLDEN_1


def test_more_held_out_includes_what_less_would_hold_out():
    few, many = (set(rows_of(hold_out(source_of(LABELS), n, seed=3)[1])) for n in (6, 24))
    assert few < many


def test_single_examples_of_a_class_stay_in_train():
    train, val = hold_out(source_of([0, 1, 1, 1, 1, 2]), 2, seed=0)
    assert val.labels.tolist() == [1, 1]
    assert sorted(set(train.labels.tolist())) == [0, 1, 2]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=80), st.floats(0.01, 0.99), st.integers(0))
def test_number_is_exact_and_no_class_is_used_up(labels, fraction, seed):
    seed %= 2**64
    source = source_of(labels, 6)
    total = round(fraction * len(labels))
    if not 1 <= total <= len(labels) - len(set(labels)):
        with pytest.raises(UsageError):
            hold_out(source, fraction, seed)
        return
    train, val = hold_out(source, fraction, seed)
    assert len(val) == total
    assert set(train.labels.tolist()) == set(labels)
    assert sorted(rows_of(train) + rows_of(val)) == list(range(len(labels)))


@pytest.mark.parametrize(
    "amount", [0, -0.1, -3, 1.5, 58, 60, 1000, 0.001, 0.999, float("nan"), float("inf")]
)
def test_impossible_amounts_are_refused(amount):
    with pytest.raises(UsageError) as caught:
        hold_out(source_of(LABELS), amount, seed=0)
    assert str(caught.value) == (
        "expected data.holdout to be a fraction or a number that holds out 1 to 57 of the 60 "
        "training examples (one of each class must stay), got "
        f"{amount:g}; try --config.data.holdout=0.1"
    )


def test_other_sources_are_viewed_not_copied():
    hidden = Hidden(source_of(LABELS))
    train, val = hold_out(hidden, 6, seed=0)
    assert isinstance(val, Rows)
    assert rows_of(val) == GOLDEN_0
    assert hidden.reads == [GOLDEN_0]
    assert val[2]["image"][0, 0, 0] == GOLDEN_0[2]
    assert val.labels.tolist() == [0, 1, 1, 2, 2, 2]
    assert (len(train), len(val), val.image_shape) == (54, 6, (1, 1, 3))
    assert train.label_names == ("a", "b", "c")
