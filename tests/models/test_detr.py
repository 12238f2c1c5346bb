import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import shapes

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder
from imgrec_jax.models.detr import DETR
from imgrec_jax.models.resnet import resnet50
from imgrec_jax.ops.position_embeddings import sine_positions

SMALL = {"width": 8, "heads": 2, "hidden": 12, "encoder_depth": 1, "decoder_depth": 2}
IMAGES = jnp.sin(jnp.arange(2 * 16 * 24 * 3, dtype=jnp.float32)).reshape(2, 16, 24, 3)


def small(**settings):
    """Return a network over 2x3 places, in which dropout is the only thing that is random."""
    encoder = PlainEncoder(width=4, depth=3, stride=2)
    return DETR(num_classes=3, encoder=encoder, queries=5, **SMALL, **settings)


class Patches(nn.Module):
    """An encoder that sees 8x8 pixels at a time, and nothing of those around."""

    @nn.compact
    def __call__(self, images, *, train=False, mask=None):
        del train, mask
        return [nn.Conv(16, (8, 8), strides=8)(images)]


def filled(module):
    """Return variables without computing anything: each leaf a normal sample, scales around 1."""
    generator = np.random.default_rng(0)

    def one(path, leaf):
        value = generator.normal(size=leaf.shape, scale=0.3).astype(np.float32)
        return jnp.asarray(1 + np.abs(value) if path[-1].key in {"scale", "var"} else value)

    like = jax.eval_shape(module.init, jax.random.key(0), IMAGES)
    return jax.tree_util.tree_map_with_path(one, like)


VARIABLES = filled(small())


APPLY = jax.jit(small().apply)


@jax.jit
def in_training(variables, key):
    net = small(dropout=0.5).clone(encoder_depth=0, decoder_depth=1)
    rngs = {"dropout": key}
    return net.apply(variables, IMAGES, train=True, rngs=rngs, mutable=["batch_stats"])


def test_the_published_count():
    """41,524,768 without the scales and biases of the encoder's norms, which are constants there.

    torch counts 41,302,368 that learn: its first convolution and first stage stand still as well.
    """
    made = shapes(DETR(num_classes=91, encoder=resnet50(num_classes=0, features_only=True)))
    params = made["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    norms = sum(leaf.size for leaf in jax.tree.leaves(made["batch_stats"]))
    assert (count, norms) == (41_577_888, 53_120)
    assert count - norms == 41_524_768
    still = jax.tree.leaves((params["encoder"]["conv"], params["encoder"]["stage1"]))
    assert count - norms - sum(k.size for k in still if k.ndim == 4) == 41_302_368


def test_positions_by_hand():
    """Of 2x3 places with 8 channels: rows, then columns, at frequencies 1 and 1/100."""
    positions = sine_positions(jnp.ones((1, 2, 3), bool), 8)
    assert positions.shape == (1, 6, 8)
    row, column = 2 * np.pi / 2, 2 * np.pi * 3 / 3  # of the last column in the first row
    expected = [
        *(np.sin(row), np.cos(row), np.sin(row / 100), np.cos(row / 100)),
        *(np.sin(column), np.cos(column), np.sin(column / 100), np.cos(column / 100)),
    ]
    np.testing.assert_allclose(positions[0, 2], expected, atol=1e-5)


def test_what_is_said_after_each_layer():
    outputs = APPLY(VARIABLES, IMAGES)
    assert outputs["logits"].shape == (2, 2, 5, 4)
    assert outputs["boxes"].shape == (2, 2, 5, 4)
    assert ((outputs["boxes"] > 0) & (outputs["boxes"] < 1)).all()
    assert np.abs(outputs["logits"][:, 0] - outputs["logits"][:, 1]).max() > 1e-2
    assert np.abs(outputs["boxes"][:, 1, 0] - outputs["boxes"][:, 1, 1]).max() > 1e-3


def test_the_order_of_queries_means_nothing():
    """They are a set: other places in the parameter, other places in the answer."""
    order = jnp.array([3, 1, 4, 0, 2])
    params = {**VARIABLES["params"], "queries": VARIABLES["params"]["queries"][order]}
    one = APPLY(VARIABLES, IMAGES)["boxes"]
    other = APPLY({**VARIABLES, "params": params}, IMAGES)["boxes"]
    np.testing.assert_allclose(other, one[:, :, order], atol=1e-5)


@pytest.mark.slow
def test_pixels_that_only_fill_up_are_not_seen():
    apply = jax.jit(small().clone(encoder=Patches(), decoder_depth=1).apply)
    kernel = jnp.sin(jnp.arange(8 * 8 * 3 * 16, dtype=jnp.float32)).reshape(8, 8, 3, 16)
    encoder = {"Conv_0": {"kernel": kernel, "bias": jnp.ones(16)}}
    variables = {"params": {**VARIABLES["params"], "encoder": encoder}}
    alone = apply(variables, IMAGES)["boxes"]
    wide = jnp.pad(IMAGES, ((0, 0), (0, 8), (0, 16), (0, 0)), constant_values=5.0)
    mask = jnp.pad(jnp.ones(IMAGES.shape[:3], bool), ((0, 0), (0, 8), (0, 16)))
    filled = apply(variables, wide, pixel_mask=mask)["boxes"]
    np.testing.assert_allclose(filled, alone, atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3  # what is seen counts


@pytest.mark.slow
def test_dropout_and_statistics_move_in_training_alone():
    one, moved = in_training(VARIABLES, jax.random.key(0))
    again, _ = in_training(VARIABLES, jax.random.key(0))
    other, _ = in_training(VARIABLES, jax.random.key(1))
    np.testing.assert_array_equal(one["boxes"], again["boxes"])
    assert np.abs(one["boxes"] - other["boxes"]).max() > 1e-3
    before, after = (jax.tree.leaves(v["batch_stats"]) for v in (VARIABLES, moved))
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


@pytest.mark.slow
def test_frozen_statistics_are_those_of_scoring():
    """Without layers over the image, all that is left in training is the encoder."""

    @jax.jit
    def both(variables):
        net = small(frozen_statistics=True).clone(encoder_depth=0, decoder_depth=1, dropout=0.0)
        training = net.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
        return training, net.apply(variables, IMAGES)

    (outputs, statistics), expected = both(VARIABLES)
    jax.tree.map(np.testing.assert_array_equal, statistics["batch_stats"], VARIABLES["batch_stats"])
    np.testing.assert_array_equal(outputs["boxes"], expected["boxes"])


def test_impossible_widths_are_told():
    with pytest.raises(UsageError, match=r"multiple of 4 and of the 8 heads, got 20; try .*width"):
        DETR(width=20, encoder=small().encoder).init(jax.random.key(0), IMAGES)
