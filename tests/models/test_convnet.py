import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import multiply_adds

from imgrec_jax.models.convnet import ConvNet


def parameter_count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.fixture(scope="module")
def variables():
    return ConvNet().init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))


def test_parameter_count(variables):
    """3·3·3·32+32, 3·3·32·64+64, 8·8·64·128+128, 128·10+10."""
    assert parameter_count(variables) == 896 + 18_496 + 524_416 + 1_290 == 545_098


def test_multiply_adds():
    """32·32·3·3·3·32, 16·16·3·3·32·64, 8·8·64·128, 128·10."""
    assert multiply_adds(ConvNet(), 32) == 884_736 + 4_718_592 + 524_288 + 1_280 == 6_128_896


def test_it_is_the_network_of_the_textbook(variables):
    """Against the same layers written out with lax alone."""
    p = variables["params"]
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))

    x = images
    for name in ("conv1", "conv2"):
        x = jax.lax.conv_general_dilated(
            x, p[name]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jnp.maximum(x + p[name]["bias"].reshape(1, 1, 1, -1), 0)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(2, -1)
    x = jnp.maximum(x @ p["hidden"]["kernel"] + p["hidden"]["bias"][None], 0)
    expected = x @ p["head"]["kernel"] + p["head"]["bias"][None]
    np.testing.assert_allclose(ConvNet().apply(variables, images), expected, rtol=1e-5, atol=1e-5)


def test_golden_logits():
    """Initialisation and forward pass, to be renewed only with a change meant to alter them."""
    net = ConvNet(num_classes=3, width=4, hidden=8)
    images = jnp.linspace(-1.0, 1.0, 8 * 8).reshape(1, 8, 8, 1)
    logits, _ = jax.jit(net.init_with_output)(jax.random.key(0), images)
    np.testing.assert_allclose(logits, GOLDEN, rtol=1e-5)


GOLDEN = [[-0.5419116, -0.4975877, -0.2135283]]
