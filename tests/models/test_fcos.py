import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.fpn import FeaturePyramid
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder
from imgrec_jax.models.fcos import FCOS
from imgrec_jax.models.resnet import resnet18
from imgrec_jax.ops import fcos_targets


def test_the_encoder_halves_five_times_rounding_up():
    net = PlainEncoder(width=2, stride=2)
    images = jnp.zeros((1, 40, 72, 3))
    features, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), images)
    sizes = [f.shape for f in features]
    assert sizes == [(1, 20, 36, 2), (1, 10, 18, 4), (1, 5, 9, 8), (1, 3, 5, 16), (1, 2, 3, 32)]


def test_the_pyramid_hands_the_coarse_level_down():
    """With weights of one: the fine level is its own value plus that of the coarse one."""
    net = FeaturePyramid(width=1)
    features = [jnp.full((1, 3, 3, 1), 2.0), jnp.full((1, 2, 2, 1), 5.0)]
    params = net.init(jax.random.key(0), features)["params"]
    params = jax.tree.map(jnp.zeros_like, params)
    for name in params:
        kernel = params[name]["kernel"]
        middle = kernel.shape[0] // 2
        params[name]["kernel"] = kernel.at[middle, middle].set(1.0)
    fine, coarse = net.apply({"params": params}, features)
    assert (fine == 7.0).all()
    assert (coarse == 5.0).all()


@pytest.mark.parametrize(
    "encoder", [PlainEncoder(width=4, stride=2), resnet18(width=4, features_only=True)]
)
def test_it_speaks_of_each_place_of_the_grid(encoder):
    net = FCOS(num_classes=3, encoder=encoder, width=8, depth=1)
    images = jnp.zeros((2, 40, 72, 3))
    outputs = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), images)[0])
    locations = len(fcos_targets.grid(40, 72, net.strides).centres)
    assert locations == 5 * 9 + 3 * 5 + 2 * 3
    assert {name: value.shape for name, value in outputs.items()} == {
        "logits": (2, locations, 3),
        "distances": (2, locations, 4),
        "quality": (2, locations, 1),
    }


def test_at_first_it_believes_in_nothing_much():
    net = FCOS(num_classes=2, encoder=PlainEncoder(width=4, stride=2), width=8, depth=1)
    images = jax.random.normal(jax.random.key(1), (1, 64, 64, 3))
    outputs, _ = jax.jit(net.init_with_output)(jax.random.key(0), images)
    np.testing.assert_allclose(jax.nn.sigmoid(outputs["logits"]), 0.01, atol=0.01)
    assert (outputs["distances"] > 0).all()


def test_encoders_that_are_too_fine_and_small_images_are_told():
    full = FCOS(encoder=PlainEncoder(width=4))
    with pytest.raises(UsageError, match=r"ends with features of \[\(8, 8\).*try .*stride=2"):
        full.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    with pytest.raises(UsageError, match="32x32"):
        FCOS().init(jax.random.key(0), jnp.zeros((1, 16, 64, 3)))
