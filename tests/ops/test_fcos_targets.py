import jax.numpy as jnp
import numpy as np

from imgrec_jax.ops import fcos_targets
from imgrec_jax.ops.losses import binary_focal_loss

GRID = fcos_targets.grid(32, 40, (8, 16))  # 4 x 5 places, then 2 x 3


def assign(*boxes, mask=None, ignore=None):
    n = len(boxes)
    return fcos_targets.assign_targets(
        GRID,
        jnp.array(boxes, jnp.float32),
        jnp.array(mask or [True] * n),
        jnp.array(ignore or [False] * n),
    )


def test_the_grid_by_hand():
    assert GRID.centres.shape == (26, 2)
    assert GRID.centres[:2].tolist() == [[4, 4], [12, 4]]
    assert GRID.centres[5].tolist() == [4, 12]
    assert GRID.centres[20].tolist() == [8, 8]
    assert GRID.centres[-1].tolist() == [40, 24]
    assert (GRID.farthest[0], GRID.nearest[20], GRID.farthest[20]) == (64, 64, np.inf)


def test_a_box_by_hand():
    """Centre (12, 12): the nine places around it are near, of which four lie on no side."""
    targets = assign([4, 4, 20, 20])
    assert np.flatnonzero(targets.box_index == 0).tolist() == [6]
    targets = assign([3, 3, 21, 21])
    assert np.flatnonzero(targets.box_index == 0).tolist() == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert targets.has_loss.all()


def test_the_smallest_of_several_boxes_is_taken_and_padding_is_none():
    both = assign([3, 3, 21, 21], [10, 10, 14, 14])
    assert both.box_index[6] == 1
    assert both.box_index[0] == 0
    assert (assign([3, 3, 21, 21], mask=[False]).box_index == -1).all()


def test_large_boxes_are_for_coarse_levels():
    grid = fcos_targets.grid(160, 160, (8, 16))
    box = jnp.array([[0, 0, 160, 160]], jnp.float32)
    targets = fcos_targets.assign_targets(grid, box, jnp.ones(1, bool), jnp.zeros(1, bool))
    fine = grid.strides == 8
    assert not (targets.box_index[fine] == 0).any()
    assert (targets.box_index[~fine] == 0).sum() == 4


def test_places_in_ignored_boxes_do_not_count():
    targets = assign([0, 0, 16, 16], ignore=[True])
    assert (targets.box_index == -1).all()
    assert np.flatnonzero(~np.asarray(targets.has_loss)).tolist() == [0, 1, 5, 6, 20]


def test_boxes_around_places_by_hand():
    distances = jnp.tile(jnp.array([1.0, 2.0, 3.0, 4.0]), (26, 1))
    assert fcos_targets.decode_boxes(GRID, distances)[1].tolist() == [11, 2, 15, 8]


def test_focal_loss_by_hand():
    """For p = 3/4: 0.25 · (1/4)² · log 4/3 where yes is right, 0.75 · (3/4)² · log 4 where no."""
    logits = jnp.log(jnp.array([3.0, 3.0]))
    loss = binary_focal_loss(logits, jnp.array([1.0, 0.0]))
    expected = [0.25 / 16 * np.log(4 / 3), 0.75 * 9 / 16 * np.log(4)]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.isfinite(binary_focal_loss(jnp.array([1e4, -1e4]), jnp.array([0.0, 1.0]))).all()
