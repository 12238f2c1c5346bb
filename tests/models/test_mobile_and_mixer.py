import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import multiply_adds, parameters

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.mixer import Mixer, mixer_s16
from imgrec_jax.models.mobile import Stage, efficientnet_b0, mobilenet_v2

STAGES = (Stage(1, 8, 1, 1), Stage(6, 8, 2, 2, kernel=5))
TINY = {
    "efficientnet": functools.partial(efficientnet_b0, stages=STAGES, stem=8, top=16),
    "mobilenet": functools.partial(mobilenet_v2, stages=STAGES, stem=8, top=16),
    "mixer": functools.partial(
        Mixer, patch=4, width=16, depth=2, tokens_hidden=8, channels_hidden=32
    ),
}
IMAGES = jnp.sin(jnp.arange(2 * 8 * 8 * 3, dtype=jnp.float32)).reshape(2, 8, 8, 3)


def made(kind, **settings):
    model = TINY[kind](**{"num_classes": 5, **settings})
    return model, jax.jit(model.init)(jax.random.key(0), IMAGES)


@pytest.mark.parametrize(
    ("model", "count", "giga"),
    [
        (mobilenet_v2, 3_504_872, 0.301),
        (efficientnet_b0, 5_288_548, 0.386),
        (mixer_s16, 18_528_264, 3.777),
    ],
)
def test_the_published_sizes(model, count, giga):
    """Torchvision publishes 0.301 and 0.386 GFLOPS (multiply-adds) for the first two."""
    assert parameters(model()) == count
    assert multiply_adds(model()) / 1e9 == pytest.approx(giga, abs=6e-4)


@pytest.mark.parametrize("kind", TINY)
def test_golden_features(kind):
    """Initialisation and forward pass, to be renewed only with a change meant to alter them."""
    model, variables = made(kind, num_classes=0)
    features = jax.jit(model.apply)(variables, IMAGES)
    assert features.shape == (2, 16)
    np.testing.assert_allclose(features[0, :3], GOLDEN[kind], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
def test_remat_changes_no_number(kind):
    model, variables = made(kind, stochastic_depth=0.5)

    def trained(net):
        def loss(params):
            features, state = net.apply(
                {**variables, "params": params},
                IMAGES,
                train=True,
                mask=jnp.array([True, True]),
                rngs={"dropout": jax.random.key(3)},
                mutable=["batch_stats", "intermediates"],
            )
            features = state.pop("intermediates")["features"][0]
            return jnp.square(features).sum(), state

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    kept, again = trained(model), trained(model.clone(remat=True))
    assert any(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(kept[0]))
    near = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(near, again, kept)


@pytest.mark.parametrize("kind", TINY)
def test_bfloat16_is_near_float32(kind):
    model, variables = made(kind, num_classes=0)
    exact = np.asarray(jax.jit(model.apply)(variables, IMAGES))
    with jax.numpy_dtype_promotion("standard"):  # Linen's norms rely on it
        low = jax.jit(model.clone(dtype=jnp.bfloat16).apply)(variables, IMAGES)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(low, np.float32), exact, atol=0.05 * np.abs(exact).max())


def test_how_they_start():
    """Mixer's logits are zero; kernels of the others come from He's normal over what goes out."""
    assert not np.any(made("mixer")[1]["params"]["head"]["kernel"])
    params = made("mobilenet", top=512)[1]["params"]
    assert np.std(params["top"]["kernel"]) == pytest.approx(np.sqrt(2 / 512), rel=0.05)


def test_padding_differs_where_a_layer_halves():
    model, variables = made("mobilenet", num_classes=0)
    torch = jax.jit(model.apply)(variables, IMAGES)
    tensorflow = jax.jit(model.clone(same=True).apply)(variables, IMAGES)
    assert torch.shape == tensorflow.shape
    assert np.abs(torch - tensorflow).max() > 1e-3


def test_patches_must_fit():
    with pytest.raises(UsageError, match="multiple of 4 pixels"):
        TINY["mixer"]().init(jax.random.key(0), jnp.zeros((1, 6, 8, 3)))


GOLDEN = {
    "efficientnet": [-8.361004e-03, 1.383529e-04, 1.482602e-05],
    "mobilenet": [0.0, 0.0123886, 0.0148713],
    "mixer": [0.878660, -0.640513, 0.736976],
}
