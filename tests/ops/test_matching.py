import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from imgrec_jax.ops.matching import assign, match_detections


def match(found, truth, *, labels=None, true_labels=None, ignore=None, mask=None, threshold=0.5):
    k, m = len(found), len(truth)
    result = match_detections(
        jnp.array(found, jnp.float32),
        jnp.array(labels or [0] * k, jnp.int32),
        jnp.array(mask or [True] * k),
        jnp.array(truth, jnp.float32),
        jnp.array(true_labels or [0] * m, jnp.int32),
        jnp.ones(m, bool),
        jnp.array(ignore or [False] * m),
        threshold,
    )
    return result.truth.tolist(), result.ignored.tolist()


A, B = [0, 0, 10, 10], [5, 0, 15, 10]


def test_the_first_prediction_takes_its_box_and_a_second_finds_none():
    assert match([A, A], [A]) == ([0, -1], [False, False])


def test_of_two_boxes_the_better_free_one_is_taken():
    """The second prediction is A too; A is taken, and B overlaps it by a third."""
    assert match([A, A], [B, A], threshold=0.3)[0] == [1, 0]
    assert match([A, A], [B, A], threshold=0.4)[0] == [1, -1]


def test_of_equals_the_last_is_taken():
    assert match([A], [A, A])[0] == [1]


def test_labels_and_padding_do_not_match():
    assert match([A], [A], true_labels=[1])[0] == [-1]
    assert match([A, A], [A], mask=[False, True])[0] == [-1, 0]


def test_a_crowd_takes_any_number_and_none_that_finds_a_box():
    """A small box in a crowd lies in it whole, though it overlaps it by a hundredth."""
    small, crowd = [2, 2, 4, 4], [0, 0, 20, 20]
    truth, ignored = match([small, small, A], [crowd, A], ignore=[True, False])
    assert truth == [0, 0, 1]
    assert ignored == [True, True, False]


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_assignment_equals_scipys(shape):
    cost = np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)
    rows, columns = assign(jnp.asarray(cost))
    expected = linear_sum_assignment(cost)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == set(
        zip(*(part.tolist() for part in expected), strict=True)
    )
