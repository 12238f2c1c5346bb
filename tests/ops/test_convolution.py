"""The fast convolution equals lax in values and gradients, and does not depend on the platform."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from imgrec_jax.ops.convolution import conv_general_dilated

NHWC = ("NHWC", "HWIO", "NHWC")
CASES = {
    "same": ((2, 8, 8, 3), (3, 3, 3, 5), {"padding": "SAME"}),
    "odd sizes, one picture": ((1, 7, 5, 4), (3, 3, 4, 2), {"padding": "SAME"}),
    "valid": ((2, 6, 9, 9), (3, 2, 9, 4), {"padding": "VALID"}),
    "strided": ((2, 9, 8, 3), (3, 3, 3, 4), {"padding": "SAME", "window_strides": (2, 2)}),
    "uneven strides and pads": (
        (3, 10, 7, 12),
        (4, 3, 12, 2),
        {"padding": ((0, 3), (2, 1)), "window_strides": (3, 2)},
    ),
    "one by one": ((2, 5, 5, 16), (1, 1, 16, 3), {"padding": "VALID"}),
    "one by one, strided": (
        (2, 5, 5, 4),
        (1, 1, 4, 3),
        {"padding": "SAME", "window_strides": (2, 2)},
    ),
    "kernel larger than stride leaves rest": (
        (2, 8, 8, 3),
        (2, 2, 3, 3),
        {"padding": "VALID", "window_strides": (3, 3)},
    ),
    "groups (lax)": ((2, 6, 6, 4), (3, 3, 2, 6), {"padding": "SAME", "feature_group_count": 2}),
    "dilated (lax)": ((2, 9, 9, 3), (3, 3, 3, 4), {"padding": "SAME", "rhs_dilation": (2, 2)}),
    "cropping pads (lax)": ((2, 6, 6, 3), (3, 3, 3, 4), {"padding": ((-1, 1), (0, 0))}),
}


def both(case, dtype, seed=0):
    """Return (output, input gradient, kernel gradient) of the fast form and of lax."""
    x_shape, k_shape, kwargs = case
    kwargs = {"window_strides": (1, 1), "dimension_numbers": NHWC} | kwargs
    rng = np.random.default_rng(seed)
    x, k = (jnp.asarray(rng.standard_normal(s), dtype) for s in (x_shape, k_shape))
    results = []
    for conv in (conv_general_dilated, lax.conv_general_dilated):
        y, vjp = jax.vjp(jax.jit(functools.partial(conv, **kwargs)), x, k)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        results.append((y, *vjp(jnp.asarray(dy, dtype))))
    return results


@pytest.mark.parametrize("name", CASES)
def test_equals_lax(name):
    fast, plain = both(CASES[name], jnp.float32)
    for ours, theirs in zip(fast, plain, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["same", "valid", "strided"])
def test_equals_lax_in_bfloat16(name):
    fast, plain = both(CASES[name], jnp.bfloat16)
    for ours, theirs in zip(fast, plain, strict=True):
        assert ours.dtype == theirs.dtype == jnp.bfloat16
        ours, theirs = (np.asarray(a, np.float32) for a in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=0.02 * np.abs(theirs).max())
