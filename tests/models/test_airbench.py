import functools

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.airbench import Airbench, airbench94, airbench96
from imgrec_jax.ops.whitening import whitening_kernel


def test_parameters_and_multiply_adds():
    assert counting.parameters(airbench94(), 32) == 1_972_792  # 1.97 million in the paper
    assert counting.multiply_adds(airbench94(), 32) == 118_147_360
    assert counting.parameters(airbench96(), 32) == 9_918_776  # as in the author's program
    assert counting.multiply_adds(airbench96(), 32) == 451_967_264


def test_whitened_patches_are_uncorrelated_with_unit_variance():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((100, 16, 16, 3)).astype(np.float32)
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)
    kernel = whitening_kernel(jnp.asarray(smooth))
    assert kernel.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    y = lax.conv_general_dilated(
        smooth, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    rows = np.asarray(y[..., :12]).reshape(-1, 12)
    np.testing.assert_allclose(rows.T @ rows / len(rows), np.eye(12), atol=0.01)


def test_convolutions_begin_by_passing_their_input_on():
    init = jax.jit(Airbench(widths=(32, 4, 4)).init)
    params = init(jax.random.key(0), jnp.ones((1, 9, 9, 3)))["params"]
    kernel = np.asarray(params["block1_1"]["kernel"])
    assert kernel.shape == (3, 3, 24, 32)
    np.testing.assert_array_equal(kernel[1, 1, :, :24], np.eye(24))
    assert not kernel[0, :, :, :24].any()
    assert kernel[..., 24:].std() == pytest.approx((3 * 9 * 24) ** -0.5, rel=0.05)


def test_blocks_of_three_convolutions_have_a_shortcut_beside_the_last_two():
    """With a last convolution of zeros what is left is the GELU of what the first one gave."""
    images = jax.random.normal(jax.random.key(1), (2, 9, 9, 3))
    deep, shallow = (Airbench(num_classes=0, widths=(4,), depth=depth) for depth in (3, 1))
    variables = jax.jit(deep.init)(jax.random.key(0), images)
    variables["params"]["block1_3"]["kernel"] *= 0

    @functools.partial(jax.jit, static_argnums=0)
    def block(model, variables):
        _, seen = model.apply(variables, images, mutable="intermediates")
        return seen["intermediates"]["block1"][0]

    first = block(shallow, variables)
    np.testing.assert_allclose(
        block(deep, variables), jax.nn.gelu(first, approximate=False), atol=1e-6
    )
    assert float(jnp.abs(first).max()) > 0.1


@pytest.mark.slow
def test_golden_logits():
    """Initialisation and forward pass, to be renewed only with a change meant to alter them."""
    model = Airbench(num_classes=3, widths=(4, 8))
    images = jnp.sin(jnp.arange(9.0 * 9 * 3)).reshape(1, 9, 9, 3)
    logits = jax.jit(model.init_with_output)(jax.random.key(0), images)[0]
    np.testing.assert_allclose(logits, GOLDEN, rtol=1e-4)


def test_images_that_are_too_small():
    with pytest.raises(UsageError, match=r"9x9 or more for 3 poolings, got \(8, 8\)"):
        airbench94().init(jax.random.key(0), jnp.ones((2, 8, 8, 3)))


GOLDEN = [[0.00438431091606617, 0.001223505474627018, -0.0009833875810727477]]
