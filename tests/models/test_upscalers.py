"""The networks that enlarge images, against their papers and against plain forms."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.models.blocks.subpixel import SubpixelTranspose, pixel_shuffle
from imgrec_jax.models.super_resolution import EDSR, ESPCN, FSRCNN

SMALL = {
    "espcn": ESPCN(scale=2),
    "fsrcnn": FSRCNN(scale=3, depth=2),
    "edsr": EDSR(scale=4, channels=1, width=8, depth=2),
}


def kernels(module, channels):
    """Return the number of weights in kernels, as the papers count them, and of all."""
    tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, channels)))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    sizes = [(path[-1].key, leaf.size) for path, leaf in leaves]
    return sum(n for name, n in sizes if name == "kernel"), sum(n for _, n in sizes)


def test_sizes_are_those_of_the_papers():
    assert kernels(FSRCNN(), 1)[0] == 12_464
    assert kernels(ESPCN(), 1)[0] == 22_624
    assert [kernels(EDSR(scale=s), 3)[1] for s in (2, 3, 4)] == [1_369_859, 1_554_499, 1_517_571]


def test_a_pixel_shuffle_by_hand():
    x = jnp.arange(2.0 * 1 * 2 * 8).reshape(2, 1, 2, 8)
    found = pixel_shuffle(x, 2)
    assert found.shape == (2, 2, 4, 2)
    for n, y, w, c in np.ndindex(found.shape):
        assert found[n, y, w, c] == x[n, y // 2, w // 2, 4 * c + 2 * (y % 2) + w % 2]


@pytest.mark.parametrize(("size", "scale"), [(9, 2), (9, 3), (9, 4), (5, 3), (4, 2)])
def test_a_subpixel_transpose_is_a_transposed_convolution(size, scale):
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    plain = nn.ConvTranspose(2, (size, size), strides=(scale, scale))
    variables = plain.init(jax.random.key(1), x)
    variables["params"]["bias"] = jnp.array([1.0, -2.0])
    found = SubpixelTranspose(2, size, scale).apply(variables, x)
    np.testing.assert_allclose(found, plain.apply(variables, x), atol=2e-6)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_does_not_depend_on_its_padding(name):
    module = SMALL[name]
    images = jax.random.uniform(jax.random.key(0), (2, 10, 12, 1))
    variables = module.init(jax.random.key(1), images)
    # Biases and slopes that are not zero, which the padding would take up.
    variables = jax.tree.map(
        lambda x: x + 0.1 * jax.random.normal(jax.random.key(2), x.shape), variables
    )
    alone = module.apply(variables, images[:1, :7, :9])
    valid = np.zeros((2, 10, 12), bool)
    valid[0, :7, :9] = valid[1] = True
    padded = module.apply(variables, images, valid=jnp.asarray(valid))
    height, width = alone.shape[1:3]
    np.testing.assert_allclose(padded[:1, :height, :width], alone, atol=2e-5)
    without = module.apply(variables, images)
    assert not np.allclose(without[:1, :height, :width], alone, atol=1e-3)
