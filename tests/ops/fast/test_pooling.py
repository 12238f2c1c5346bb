"""The fast max pooling equals Linen's in values and gradients, ties and NaN included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.ops.fast.pooling import max_pool

SHAPES = [
    ((3, 8, 6, 5), (2, 2)),
    ((1, 7, 5, 2), (2, 2)),  # windows that do not divide the image
    ((2, 10, 9, 3), (3, 2)),
    ((2, 4, 4, 1), (4, 4)),
]
VALUES = {
    "ties": (0.0, 1.0, 2.0),
    "signed zeros": (-0.0, 0.0),
    "infinities": (-np.inf, 0.0, np.inf),
    "nan": (np.nan, 0.0, 1.0),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("shape", "window"), SHAPES)
@pytest.mark.parametrize("values", VALUES)
def test_equals_linen(values, shape, window, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.choice(VALUES[values], shape), dtype)
    fast, fast_vjp = jax.vjp(lambda x: max_pool(x, window, strides=window), x)
    plain, plain_vjp = jax.vjp(lambda x: nn.max_pool(x, window, strides=window), x)
    gradient = jnp.asarray(rng.standard_normal(plain.shape), dtype)
    pairs = [(fast, plain), (fast_vjp(gradient)[0], plain_vjp(gradient)[0])]
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_array_equal(ours.astype(jnp.float32), theirs.astype(jnp.float32))


@pytest.mark.parametrize("in_the_cache", [True, False])
@pytest.mark.parametrize("values", VALUES)
def test_equals_linen_without_gradients(values, in_the_cache, monkeypatch):
    monkeypatch.setattr("imgrec_jax.ops.fast.pooling.IN_THE_CACHE", 1 << 20 if in_the_cache else 0)
    x = jnp.asarray(np.random.default_rng(0).choice(VALUES[values], (3, 7, 6, 5)), jnp.float32)
    pooled, plain = (pool(x, (2, 2), strides=(2, 2)) for pool in (max_pool, nn.max_pool))
    np.testing.assert_array_equal(pooled, plain)


@pytest.mark.parametrize(
    ("shape", "window", "strides", "padding"),
    [
        ((2, 8, 8, 3), (3, 3), (2, 2), "SAME"),  # windows overlap
        ((2, 7, 7, 3), (2, 2), (2, 2), "SAME"),  # padded
        ((2, 8, 8, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
        ((2, 8, 8, 3), (2, 2), None, "VALID"),
        ((6, 6, 3), (2, 2), (2, 2), "VALID"),
        ((2, 2, 6, 6, 3), (2, 2), (2, 2), "VALID"),
    ],
)
def test_takes_every_form_that_linen_takes(shape, window, strides, padding):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 4, shape), jnp.float32)

    def gradient(pool):
        return jax.grad(lambda x: (pool(x, window, strides, padding) ** 2).sum())(x)

    plain = gradient(nn.max_pool)
    assert np.count_nonzero(plain) > 0
    np.testing.assert_array_equal(gradient(max_pool), plain)


def test_chosen_by_platform():
    def operations(platform):
        step = jax.jit(jax.grad(lambda x: max_pool(x, (2, 2), (2, 2)).sum()))
        lowered = step.trace(jnp.ones((2, 4, 4, 1))).lower(lowering_platforms=(platform,))
        return lowered.as_text().count("select_and_scatter")

    assert operations("cpu") == 0
    assert operations("cuda") == operations("tpu") == 1


def test_inside_vmap_and_scan():
    x = jnp.arange(2 * 3 * 4 * 4, dtype=jnp.float32).reshape(2, 3, 4, 4, 1)

    def gradient(x):
        return jax.grad(lambda x: max_pool(x, (2, 2), (2, 2)).sum())(x)

    # In each window of a rising image the last pixel is the largest.
    expected = np.broadcast_to(np.tile([[0, 0], [0, 1]], (2, 2))[..., None], x.shape)
    _, scanned = jax.lax.scan(lambda carry, x: (carry, gradient(x)), 0, x)
    np.testing.assert_array_equal(jax.vmap(gradient)(x), expected)
    np.testing.assert_array_equal(scanned, expected)
