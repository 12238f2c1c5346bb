import jax.numpy as jnp
import numpy as np

from imgrec_jax.ops.nms import best_detections, suppress

# The second overlaps the first by 9/11, the third by 8/12; the second and third by 9/11.
ROW = jnp.array([[0, 0, 10, 1], [1, 0, 11, 1], [2, 0, 12, 1], [50, 0, 60, 1]], jnp.float32)
SCORES = jnp.array([0.9, 0.8, 0.7, 0.6], jnp.float32)


def kept(threshold, labels=(0, 0, 0, 0), scores=SCORES):
    return suppress(ROW, scores, jnp.array(labels, jnp.int32), threshold).tolist()


def test_what_is_suppressed_suppresses_nothing():
    """At 0.7 the first drops the second alone, which would have dropped the third."""
    assert kept(0.7) == [True, False, True, True]
    assert kept(0.5) == [True, False, False, True]
    assert kept(0.9) == [True, True, True, True]


def test_labels_do_not_meet():
    assert kept(0.5, labels=(0, 1, 0, 0)) == [True, True, False, True]


def test_padding_is_not_kept():
    scores = jnp.array([0.9, 0.0, 0.0, 0.0], jnp.float32)
    assert kept(0.9, scores=scores) == [True, False, False, False]


def test_detections_by_hand():
    """Two labels of each of four places; rows beyond what is found are empty."""
    scores = jnp.stack([SCORES, jnp.array([0.0, 0.0, 0.75, 0.01])], axis=-1)
    boxes, best, labels = best_detections(
        ROW, scores, candidates=6, detections=5, threshold=0.5, min_score=0.05
    )
    np.testing.assert_allclose(best, [0.9, 0.75, 0.6, 0.0, 0.0], rtol=1e-6)
    assert labels.tolist() == [0, 1, 0, 0, 0]
    np.testing.assert_array_equal(boxes[:3], ROW[jnp.array([0, 2, 3])])
    assert (boxes[3:] == 0).all()


def test_more_rows_may_be_asked_for_than_there_are_places():
    boxes, best, _ = best_detections(
        ROW, SCORES[:, None], candidates=300, detections=7, threshold=0.9, min_score=0.05
    )
    assert boxes.shape == (7, 4)
    np.testing.assert_allclose(best, [0.9, 0.8, 0.7, 0.6, 0.0, 0.0, 0.0], rtol=1e-6)
