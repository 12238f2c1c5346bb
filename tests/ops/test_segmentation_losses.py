"""Losses of label maps against numbers worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.ops import segmentation_losses

# One image of 1 x 3 pixels, two classes. Probabilities of class 1: 0.5, 0.8, 0.9; truth 0, 1, -.
P = np.array([0.5, 0.8, 0.9])
LOGITS = jnp.asarray(np.stack([np.log(1 - P), np.log(P)], -1)[None, None], jnp.float32)
LABELS = jnp.array([[[0, 1, 255]]], jnp.int32)
VALID = jnp.array([[[True, True, False]]])


def test_cross_entropy_by_hand():
    expected = -math.log(0.5) - math.log(0.8)
    losses = segmentation_losses.cross_entropy_sums(LOGITS, LABELS, VALID)
    np.testing.assert_allclose(losses, [expected], rtol=1e-6)
    weighted = segmentation_losses.cross_entropy_sums(LOGITS, LABELS, VALID, (2.0, 10.0))
    np.testing.assert_allclose(weighted, [-2 * math.log(0.5) - 10 * math.log(0.8)], rtol=1e-6)


def test_focal_loss_by_hand():
    expected = -(0.5**2) * math.log(0.5) - 0.2**2 * math.log(0.8)
    losses = segmentation_losses.focal_sums(LOGITS, LABELS, VALID)
    np.testing.assert_allclose(losses, [expected], rtol=1e-5)
    plain = segmentation_losses.focal_sums(LOGITS, LABELS, VALID, gamma=0.0)
    np.testing.assert_allclose(plain, [-math.log(0.5) - math.log(0.8)], rtol=1e-6)


def test_dice_by_hand():
    """Class 0: p 0.5, 0.2, g 1, 0. Class 1: p 0.5, 0.8, g 0, 1."""
    first = 1 - 2 * 0.5 / (0.25 + 0.04 + 1)
    second = 1 - 2 * 0.8 / (0.25 + 0.64 + 1)
    losses = segmentation_losses.dice_losses(LOGITS, LABELS, VALID)
    np.testing.assert_allclose(losses, [(first + second) / 2], rtol=1e-6)


def test_lovasz_by_hand():
    """Class 0: errors 0.5 (true), 0.2 (not): J = 1, then 1: 0.5. Class 1: 0.5 (not), 0.2 (true).

    For class 1 the first mistake costs 1 - 1/2 and the second the rest: 0.5 / 2 + 0.2 / 2.
    """
    losses = segmentation_losses.lovasz_losses(LOGITS, LABELS, VALID)
    np.testing.assert_allclose(losses, [(0.5 + 0.35) / 2], rtol=1e-6)


def test_lovasz_of_hard_mistakes_is_one_minus_iou():
    """Certain predictions: truth 1 1 1 0 0, said 1 0 0 1 0: IoU of 1 is 1/4, of 0 is 1/4."""
    predicted = jnp.array([1, 0, 0, 1, 0])
    logits = jax.nn.one_hot(predicted, 2, dtype=jnp.float32)[None, None] * 100.0
    labels = jnp.array([[[1, 1, 1, 0, 0]]])
    losses = segmentation_losses.lovasz_losses(logits, labels, jnp.ones((1, 1, 5), bool))
    np.testing.assert_allclose(losses, [0.75], rtol=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        segmentation_losses.cross_entropy_sums,
        segmentation_losses.focal_sums,
        segmentation_losses.dice_losses,
        segmentation_losses.lovasz_losses,
    ],
)
def test_what_is_not_valid_has_no_loss_and_no_gradient(loss):
    nothing = jnp.zeros((1, 1, 3), bool)
    value, gradient = jax.value_and_grad(lambda x: loss(x, LABELS, nothing).sum())(LOGITS)
    assert float(value) == 0.0
    assert np.asarray(gradient).tolist() == np.zeros((1, 1, 3, 2)).tolist()
    gradient = jax.grad(lambda x: loss(x, LABELS, VALID).sum())(LOGITS)
    assert np.asarray(gradient[0, 0, 2]).tolist() == [0.0, 0.0]
    assert np.abs(gradient[0, 0, :2]).min() > 1e-3
