"""The fast max pooling equals Linen's in values and gradients, ties and NaN included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.ops.pooling import max_pool

SHAPES = [
    ((3, 8, 6, 5), (2, 2)),
    ((1, 7, 5, 2), (2, 2)),  # windows that do not divide the picture
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
