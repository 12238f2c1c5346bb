import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import multiply_adds, parameters

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.vit import VITS, Attention, ViT
from imgrec_jax.ops.position_embeddings import resize_positions, sincos_positions

TINY = {"patch": 4, "width": 16, "depth": 2, "heads": 2, "num_classes": 5}
IMAGES = jnp.sin(jnp.arange(2 * 8 * 8 * 3, dtype=jnp.float32)).reshape(2, 8, 8, 3)


def made(**settings):
    """Return a tiny model and its variables, the head not zero."""
    model = ViT(**{**TINY, **settings})
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    if "head" in variables["params"]:
        kernel = jax.random.normal(jax.random.key(1), (16, 5))
        variables["params"]["head"]["kernel"] = kernel
    return model, variables


def apply(model, variables, images=IMAGES, **settings):
    return jax.jit(functools.partial(model.apply, **settings))(variables, images)


@pytest.mark.parametrize(
    ("name", "count", "giga"),
    [
        ("vit_ti16", 5_717_416, 1.254),
        ("vit_s16", 22_050_664, 4.599),
        ("vit_b16", 86_567_656, 17.564),
        ("vit_b32", 88_224_232, 4.409),
        ("vit_l16", 304_326_632, 61.555),
    ],
)
def test_the_published_sizes(name, count, giga):
    """Torchvision publishes 17.564 and 4.409 GFLOPS (multiply-adds) for B/16 and B/32."""
    assert parameters(VITS[name]()) == count
    assert multiply_adds(VITS[name]()) / 1e9 == pytest.approx(giga, abs=6e-4)


def test_all_names():
    assert len(VITS) == 20
    assert {"vit_ti4", "vit_s8", "vit_b14", "vit_l32"} <= set(VITS)


def test_a_better_plain_vit_has_neither_token_nor_learned_positions():
    """One token (384) and 197 positions (75,648) fewer than the class-token model."""
    assert parameters(VITS["vit_s16"](pool="mean", positions="sincos")) == 22_050_664 - 76_032


def test_golden_features():
    """Initialisation and forward pass, to be renewed only with a change meant to alter them."""
    features = apply(*made(num_classes=0))
    assert features.shape == (2, 16)
    np.testing.assert_allclose(features[0, :4], GOLDEN, atol=1e-4)


def test_it_starts_as_the_papers_say():
    """Zero logits; xavier-uniform matrices; positions of standard deviation 0.02."""
    model = VITS["vit_ti16"](depth=1)
    images = jnp.ones((1, 224, 224, 3))
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    assert not np.any(params["head"]["kernel"])
    assert not np.any(params["class_token"])
    assert np.std(params["positions"]) == pytest.approx(0.02, rel=0.02)
    bound = np.sqrt(6 / (192 + 768))
    expand = np.asarray(params["block1"]["mlp"]["expand"]["kernel"])
    assert 0.99 * bound < np.abs(expand).max() <= bound
    assert expand.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)


def test_named_intermediates():
    model, variables = made()
    _, found = apply(model, variables, mutable=["intermediates"])
    assert found["intermediates"]["features"][0].shape == (2, 16)
    assert found["intermediates"]["tokens"][0].shape == (2, 5, 16)


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_patches_change_places_only_where_positions_tell(pool):
    """Without positions a transformer is blind to order: mirrored patches, the same logits."""
    model, variables = made(pool=pool)
    mirrored = jnp.concatenate([IMAGES[:, :, 4:], IMAGES[:, :, :4]], axis=2)
    seen, swapped = apply(model, variables), apply(model, variables, mirrored)
    assert np.abs(seen - swapped).max() > 1e-5
    variables["params"]["positions"] = jnp.zeros_like(variables["params"]["positions"])
    blind, same = apply(model, variables), apply(model, variables, mirrored)
    np.testing.assert_allclose(same, blind, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_remat_changes_no_number():
    model, variables = made(stochastic_depth=0.5, dropout=0.1)
    again = model.clone(remat=True)
    shapes = jax.eval_shape(again.init, jax.random.key(0), IMAGES)
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)

    def gradient(net):
        def loss(params):
            logits = net.apply(
                {"params": params}, IMAGES, train=True, rngs={"dropout": jax.random.key(3)}
            )
            return jnp.square(logits).sum()

        return jax.jit(jax.grad(loss))(variables["params"])

    kept, made_again = gradient(model), gradient(again)
    assert any(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(kept))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), kept, made_again
    )


def test_bfloat16_is_near_float32():
    model, variables = made()
    exact = np.asarray(apply(model, variables))
    with jax.numpy_dtype_promotion("standard"):  # Linen's norms rely on it
        low = apply(model.clone(dtype=jnp.bfloat16), variables)
        halves = jax.eval_shape(
            model.clone(param_dtype=jnp.bfloat16).init, jax.random.key(0), IMAGES
        )
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(low, np.float32), exact, atol=0.03 * np.abs(exact).max())
    assert {leaf.dtype for leaf in jax.tree.leaves(halves)} == {jnp.dtype("bfloat16")}


def test_stochastic_depth_leaves_out_whole_rows():
    model, variables = made(stochastic_depth=0.5, num_classes=0)
    many = jnp.repeat(IMAGES[:1], 64, axis=0)
    rngs = {"dropout": jax.random.key(0)}
    features = apply(model, variables, many, train=True, rngs=rngs)
    kinds = np.unique(np.asarray(features).round(4), axis=0)
    assert len(kinds) == 4  # the second block's attention and MLP, each there or not


def test_impossible_requests():
    with pytest.raises(UsageError, match="multiple of 4 pixels"):
        ViT(**TINY).init(jax.random.key(0), jnp.zeros((1, 10, 8, 3)))
    with pytest.raises(UsageError, match="did you mean 'token'"):
        ViT(**TINY, pool="tokens").init(jax.random.key(0), IMAGES)
    with pytest.raises(UsageError, match="unknown positions 'fixed'"):
        ViT(**TINY, positions="fixed").init(jax.random.key(0), IMAGES)


def test_sincos_by_hand():
    """Two wavelengths for 8 channels: frequencies 1 and 1/10,000."""
    positions = sincos_positions(2, 3, 8)
    assert positions.shape == (1, 6, 8)
    row, column = 1, 2
    expected = [
        wave(place * f) for place in (column, row) for wave in (np.sin, np.cos) for f in (1, 1e-4)
    ]
    np.testing.assert_allclose(positions[0, row * 3 + column], expected, rtol=1e-6)
    with pytest.raises(UsageError, match="multiple of 4"):
        sincos_positions(2, 2, 6)


def test_positions_of_another_grid():
    """A ramp stays a ramp inside, the class token's own position stays as it is."""
    ramp = jnp.broadcast_to(jnp.arange(8.0).reshape(1, 1, 8, 1), (1, 8, 8, 4)).reshape(1, 64, 4)
    positions = jnp.concatenate([jnp.full((1, 1, 4), 9.0), ramp], axis=1)
    larger = np.asarray(resize_positions(positions, 257, extra=1))
    np.testing.assert_array_equal(larger[0, 0], 9.0)
    middle = larger[0, 1:].reshape(16, 16, 4)[8, :, 0]
    np.testing.assert_allclose(middle[4:12], np.arange(4, 12) / 2 - 0.25, atol=1e-5)
    assert resize_positions(positions, 65, extra=1) is positions
    with pytest.raises(UsageError, match="square"):
        resize_positions(positions, 13, extra=1)


GOLDEN = [0.316191, 1.133799, -0.497378, 1.220231]


def textbook_attention(query, key, value):
    """Equation 1 of Vaswani et al. 2017, on [n, tokens, heads, size]."""
    scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / np.sqrt(query.shape[-1])
    return jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value)


def test_an_attention_that_is_passed_in_takes_the_place_of_the_plain_one():
    """Values and gradients: what stands in for it on a GPU gets what it expects."""
    tokens = jnp.sin(jnp.arange(2 * 5 * 8, dtype=jnp.float32)).reshape(2, 5, 8)
    plain = Attention(2, {})
    params = jax.jit(plain.init)(jax.random.key(0), tokens)

    @functools.partial(jax.jit, static_argnums=0)
    def gathered(attention, tokens):
        value, pull = jax.vjp(lambda x: plain.clone(attention=attention).apply(params, x), tokens)
        return value, pull(value)[0]

    forms = jax.nn.dot_product_attention, textbook_attention
    for one, other in zip(*[gathered(form, tokens) for form in forms], strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
        assert np.asarray(one).std() > 0.01


def test_a_vit_hands_its_attention_down():
    seen = []

    def noted(query, key, value):
        seen.append(query.shape)
        return value

    jax.eval_shape(ViT(**TINY, attention=noted).init, jax.random.key(0), IMAGES)
    assert seen == [(2, 5, 2, 8)] * 2
