import jax.numpy as jnp

from imgrec_jax.augment.affine import inside


def test_the_far_edges_are_outside():
    """Pixel k covers k up to, but not including, k + 1."""
    x = jnp.array([[[0.0, 2.5, 3.0], [-0.1, 1.0, 1.0]]])
    y = jnp.array([[[0.0, 1.0, 1.0], [0.0, 1.9, 2.0]]])
    assert inside(x, y)[0].tolist() == [[True, True, False], [False, True, False]]
