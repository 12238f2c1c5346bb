import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from imgrec_jax.ops.matching import match_detections, match_queries


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


MATCH = jax.jit(jax.vmap(match_queries))


def least(cost):
    rows, columns = linear_sum_assignment(cost)
    return cost[rows, columns].sum()


def test_queries_are_matched_as_well_as_scipy_does():
    """40 problems at once: with ties, with padding anywhere, with no boxes, with all."""
    generator = np.random.default_rng(0)
    cost = generator.normal(size=(40, 7, 9)).astype(np.float32)
    cost[:20] = cost[:20].round()
    mask = generator.random((40, 7)) < 0.6
    mask[0], mask[1] = False, True
    queries = np.asarray(MATCH(cost, mask))
    for one, real, query in zip(cost, mask, queries, strict=True):
        assert (query[~real] == 9).all()
        assert len(set(query[real])) == real.sum()
        found = one[np.flatnonzero(real), query[real]].sum()
        assert found == pytest.approx(least(one[real]), abs=1e-5)
    # Of the first ones, with whole numbers as costs, most have several answers.
    assert (cost[:20] == cost[:20].round()).all()


def test_as_many_boxes_as_queries():
    """Also with costs that are far apart, of which the largest are cut."""
    cost = np.random.default_rng(1).normal(size=(2, 6, 6)).astype(np.float32)
    cost[1, :, 2] += 1e5
    for one, query in zip(cost, np.asarray(MATCH(cost, np.ones((2, 6), bool))), strict=True):
        assert sorted(query) == list(range(6))
        assert one[np.arange(6), query].sum() == pytest.approx(least(one), rel=1e-6)


def test_a_diverged_network_does_not_hang_the_matching():
    """Of each number that is none: a problem with no other, and one with a single good answer."""
    cost = np.repeat([[[np.nan]], [[np.inf]], [[-np.inf]]], 2, axis=0).astype(np.float32)
    cost = np.tile(cost, (1, 6, 6))
    cost[1::2, 0, 2], cost[1::2, 1:] = 0.0, 1.0
    queries = np.asarray(MATCH(cost, np.ones((6, 6), bool)))
    assert np.sort(queries).tolist() == [list(range(6))] * 6
    assert queries[1, 0] == queries[3, 0] == 2


def test_an_overlap_equal_to_the_threshold_is_enough():
    """Half of A and all of it: an overlap, and a coverage, of exactly one half."""
    half, beside = [0, 0, 10, 5], [0, 5, 10, 15]
    assert match([half], [A]) == ([0], [False])
    assert match([beside], [A], ignore=[True]) == ([0], [True])
    assert match([half], [A], threshold=0.5001)[0] == [-1]
