"""Scores of label maps against numbers counted by hand."""

import jax.numpy as jnp
import numpy as np

from imgrec_jax.ops import segmentation_metrics

TRUE = jnp.array([[[0, 0, 1], [0, 1, 255]]], jnp.int32)
PREDICTED = jnp.array([[[0, 1, 1], [0, 1, 0]]], jnp.int32)
VALID = TRUE != 255


def test_confusion_leaves_out_what_is_not_valid():
    assert segmentation_metrics.confusion(TRUE, PREDICTED, VALID, 3).tolist() == [
        [2, 1, 0],
        [0, 2, 0],
        [0] * 3,
    ]


def test_counts_of_each_image_and_class():
    counts = segmentation_metrics.pixel_counts(TRUE, PREDICTED, VALID, 3)
    assert counts.tolist() == [[[2, 3, 2], [2, 2, 3], [0, 0, 0]]]
    hits, true, predicted = np.asarray(counts).sum(0).T
    np.testing.assert_array_equal(
        segmentation_metrics.ious(hits, true, predicted), [2 / 3, 2 / 3, np.nan]
    )


def test_a_class_that_is_only_predicted_has_no_iou():
    assert np.isnan(
        segmentation_metrics.ious(np.array([0]), np.array([0]), np.array([5]))
    ).tolist() == [True]


def two_halves(border, width=12):
    return (jnp.arange(width) >= border).astype(jnp.int32)[None, None].repeat(6, 1)


def test_boundaries_one_pixel_apart_match_and_three_do_not():
    """Columns 5 and 6 are the true boundary; its ends within one pixel count as found."""
    valid = jnp.ones((1, 6, 12), bool)
    counts = segmentation_metrics.boundary_counts(two_halves(6), two_halves(7), valid, 2)
    assert counts.tolist() == [[[6, 6, 6, 6], [6, 6, 6, 6]]]
    assert segmentation_metrics.boundary_f1(np.asarray(counts)).tolist() == [1.0]
    counts = segmentation_metrics.boundary_counts(two_halves(6), two_halves(9), valid, 2)
    assert counts.tolist() == [[[6, 0, 6, 0], [6, 0, 6, 0]]]
    assert segmentation_metrics.boundary_f1(np.asarray(counts)).tolist() == [0.0]


def test_boundary_f1_by_hand():
    """Class 0: precision 1/2, recall 1/4: F1 1/3; class 1 alone in the truth: 0; class 2: none."""
    counts = np.array([[[4, 2, 8, 2], [0, 0, 3, 0], [0, 0, 0, 0]], np.zeros((3, 4), int)])
    f1 = segmentation_metrics.boundary_f1(counts)
    np.testing.assert_allclose(f1[0], (1 / 3 + 0) / 2)
    assert np.isnan(f1[1])


def test_pixels_beside_what_is_not_valid_are_no_boundary():
    valid = jnp.ones((1, 6, 12), bool).at[:, :, 6:].set(False)
    counts = segmentation_metrics.boundary_counts(two_halves(6), two_halves(6), valid, 2)
    assert counts.tolist() == [[[0, 0, 0, 0], [0, 0, 0, 0]]]
