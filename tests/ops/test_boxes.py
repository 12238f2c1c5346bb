import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgrec_jax.ops import boxes

SQUARE = jnp.array([0.0, 0.0, 2.0, 2.0])


def of(*sides):
    return jnp.array(sides, jnp.float32)


def test_overlap_by_hand():
    """2x2 squares that share 1x1: 1 of 4 + 4 - 1; apart: 0; the same: 1."""
    others = jnp.stack([of(1, 1, 3, 3), of(5, 5, 6, 6), SQUARE, of(0, 0, 1, 2)])
    np.testing.assert_allclose(boxes.iou(SQUARE[None], others), [1 / 7, 0, 1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(boxes.pairwise_iou(others[:1], others[1:]), [[0, 1 / 7, 0]])


def test_generalised_overlap_by_hand():
    """Sharing 1x1: 1/7 - (9 - 7)/9. Two cells apart in a row of 4: 0 - (8 - 4 - 1)/8."""
    assert boxes.giou(SQUARE, of(1, 1, 3, 3)) == pytest.approx(1 / 7 - 2 / 9, rel=1e-6)
    assert boxes.giou(SQUARE, of(3, 0, 4, 1)) == pytest.approx(-3 / 8, rel=1e-6)
    assert boxes.giou(SQUARE, SQUARE) == 1.0


def test_empty_boxes_have_no_overlap_and_finite_gradients():
    nothing = of(1, 1, 1, 1)
    assert boxes.iou(nothing, nothing) == 0.0
    assert boxes.giou(nothing, nothing) == 0.0
    gradient = jax.grad(lambda box: boxes.giou(box, of(1, 1, 1, 1)))(nothing)
    assert np.isfinite(gradient).all()


def test_a_gradient_draws_boxes_that_do_not_touch_together():
    gradient = jax.grad(lambda box: boxes.giou(box, of(10, 0, 12, 2)))(SQUARE)
    assert gradient[2] > 0


def test_coverage_is_the_part_of_the_first():
    crowd = of(0, 0, 10, 10)
    np.testing.assert_allclose(
        boxes.pairwise_coverage(of(-1, 0, 1, 2)[None], crowd[None]), [[0.5]], rtol=1e-6
    )


def test_centres_by_hand():
    np.testing.assert_allclose(boxes.to_centres(of(1, 2, 5, 10)), [3, 6, 4, 8])
    np.testing.assert_allclose(boxes.from_centres(of(3, 6, 4, 8)), [1, 2, 5, 10])


def test_clipping_by_hand():
    np.testing.assert_allclose(boxes.clip(of(-3, -4, 50, 60), 20, 30), [0, 0, 30, 20])


side = st.integers(0, 20)


@given(st.tuples(side, side, side, side), st.tuples(side, side, side, side))
def test_overlap_is_symmetric_and_bounds_the_generalised(a, b):
    def ordered(s):
        return of(min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3]))

    one, other = ordered(a), ordered(b)
    iou, giou = float(boxes.iou(one, other)), float(boxes.giou(one, other))
    assert iou == float(boxes.iou(other, one))
    assert -1.0 <= giou <= iou + 1e-6 <= 1.0 + 1e-6
