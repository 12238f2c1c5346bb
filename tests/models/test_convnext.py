import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import multiply_adds, parameters

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models import convnext
from imgrec_jax.models.convnext import ConvNeXt

TINY = {"stage_sizes": (1, 1, 2, 1), "widths": (4, 8, 8, 16), "num_classes": 5}
IMAGES = jnp.sin(jnp.arange(2 * 32 * 32 * 3, dtype=jnp.float32)).reshape(2, 32, 32, 3)


def made(**settings):
    model = ConvNeXt(**{**TINY, **settings})
    return model, jax.jit(model.init)(jax.random.key(0), IMAGES)


def apply(model, variables, **settings):
    return jax.jit(functools.partial(model.apply, **settings))(variables, IMAGES)


@pytest.mark.parametrize(
    ("name", "count", "giga"),
    [("tiny", 28_589_128, 4.456), ("small", 50_223_688, 8.684), ("base", 88_591_464, 15.355)],
)
def test_the_published_sizes(name, count, giga):
    """As torchvision publishes them, 4.456, 8.684 and 15.355 GFLOPS (multiply-adds)."""
    model = getattr(convnext, f"convnext_{name}")()
    assert parameters(model) == count
    assert multiply_adds(model) / 1e9 == pytest.approx(giga, abs=6e-4)


def test_golden_logits():
    """Initialisation and forward pass, to be renewed only with a change meant to alter them."""
    model, variables = made(layer_scale=1.0)
    np.testing.assert_allclose(apply(model, variables)[0], GOLDEN, atol=1e-5)


def test_it_starts_as_the_paper_says():
    """Kernels from a normal of deviation 0.02, branches at a millionth."""
    model = convnext.convnext_tiny(stage_sizes=(1, 0, 0, 0))
    params = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]
    block = params["stage1"]["block1"]
    for kernel in (block["expand"]["kernel"], block["project"]["kernel"], params["head"]["kernel"]):
        assert np.std(kernel) == pytest.approx(0.02, rel=0.03)
    np.testing.assert_array_equal(block["gamma"], np.float32(1e-6))
    assert not np.any(block["depthwise"]["bias"])


def test_shapes_of_features_and_stages():
    model, variables = made(num_classes=0)
    stages = jax.eval_shape(model.clone(features_only=True).apply, variables, IMAGES)
    assert [s.shape for s in stages] == [(2, 8, 8, 4), (2, 4, 4, 8), (2, 2, 2, 8), (2, 1, 1, 16)]
    logits, found = jax.eval_shape(
        functools.partial(model.apply, mutable=["intermediates"]), variables, IMAGES
    )
    assert logits.shape == (2, 16)
    assert found["intermediates"]["features"][0].shape == (2, 16)


@pytest.mark.slow
def test_remat_changes_no_number():
    model, variables = made(layer_scale=1.0, stochastic_depth=0.5)
    again = model.clone(remat=True)

    def gradient(net):
        def loss(params):
            rngs = {"dropout": jax.random.key(3)}
            return jnp.square(net.apply({"params": params}, IMAGES, train=True, rngs=rngs)).sum()

        return jax.jit(jax.grad(loss))(variables["params"])

    kept, made_again = gradient(model), gradient(again)
    assert any(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(kept))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), kept, made_again)


def test_bfloat16_is_near_float32():
    model, variables = made(layer_scale=1.0)
    exact = np.asarray(apply(model, variables))
    with jax.numpy_dtype_promotion("standard"):  # Linen's norms rely on it
        low = apply(model.clone(dtype=jnp.bfloat16), variables)
        halves = jax.eval_shape(
            model.clone(param_dtype=jnp.bfloat16).init, jax.random.key(0), IMAGES
        )
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(low, np.float32), exact, atol=0.05 * np.abs(exact).max())
    assert {leaf.dtype for leaf in jax.tree.leaves(halves)} == {jnp.dtype("bfloat16")}


def test_too_small_images_are_refused():
    with pytest.raises(UsageError, match="32x32 or more"):
        ConvNeXt(**TINY).init(jax.random.key(0), jnp.zeros((1, 16, 32, 3)))


GOLDEN = [0.231638, 0.035670, -0.126931, -0.015526, -0.043284]
