"""The fast convolution equals lax in values and gradients, and does not depend on the platform."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from imgrec_jax.ops.fast.convolution import conv_general_dilated
from imgrec_jax.ops.fast.pooling import max_pool

NHWC = ("NHWC", "HWIO", "NHWC")
CASES = {
    "same": ((2, 8, 8, 3), (3, 3, 3, 5), {"padding": "SAME"}),
    "odd sizes, one image": ((1, 7, 5, 4), (3, 3, 4, 2), {"padding": "SAME"}),
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
    assert len(fast) == len(plain) == 3
    for ours, theirs in zip(fast, plain, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_equals_lax_without_gradients(name):
    x_shape, k_shape, kwargs = CASES[name]
    kwargs = {"window_strides": (1, 1), "dimension_numbers": NHWC} | kwargs
    rng = np.random.default_rng(0)
    x, k = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in (x_shape, k_shape))
    ours, theirs = (
        conv(x, k, **kwargs) for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images", [0, 0.3, 1.5])
@pytest.mark.parametrize("name", ["same", "uneven strides and pads"])
def test_in_parts_equals_lax(name, images, monkeypatch):
    """A part is one row of an image, some of its rows, or a whole image."""
    x, kernel, kwargs = CASES[name]
    size = int(images * 4 * np.prod(x[1:]) * np.prod(kernel[:2]))
    monkeypatch.setattr("imgrec_jax.ops.fast.convolution.IN_THE_CACHE", size)
    fast, plain = both(((6, *x[1:]), kernel, kwargs), jnp.float32)
    for ours, theirs in zip(fast, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["same", "valid", "strided"])
def test_equals_lax_in_bfloat16(name):
    fast, plain = both(CASES[name], jnp.bfloat16)
    for ours, theirs in zip(fast, plain, strict=True):
        assert ours.dtype == theirs.dtype == jnp.bfloat16
        expected = np.asarray(theirs, np.float32)
        atol = 0.02 * np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(ours, np.float32), expected, rtol=0.02, atol=atol)


def loss(x, conv, params):
    model = nn.Conv(4, (3, 3), conv_general_dilated=conv)
    return (model.apply({"params": params}, x) ** 2).sum()


def test_mapped_over_devices_in_linen_equals_one_device_of_lax():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 3, 6, 6, 3)), jnp.float32)
    params = nn.Conv(4, (3, 3)).init(jax.random.key(0), x[0])["params"]
    grad = jax.grad(lambda p, x: loss(x, conv_general_dilated, p))
    mapped = jax.pmap(
        lambda p, x: lax.psum(grad(p, x), "data"), "data", in_axes=(None, 0), out_axes=None
    )
    expected = jax.grad(lambda p: loss(x.reshape(6, 6, 6, 3), None, p))(params)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(mapped(params, x)[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 16])
def test_many_networks_under_vmap_equal_each_alone(channels):
    """With few channels its gradient is a matmul, whose mapped axis lies elsewhere than lax's."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((5, 2, 6, 6, channels)), jnp.float32)
    kernels = jnp.asarray(rng.standard_normal((2, 3, 3, channels, 4)), jnp.float32)

    def one(kernel, x):
        y = conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        assert y.shape == (5, 6, 6, 4)
        return (max_pool(y, (2, 2), (2, 2)) ** 2).sum()

    def plain(kernel, x):
        y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        return (nn.max_pool(y, (2, 2), (2, 2)) ** 2).sum()

    gradients = jax.jit(jax.grad(lambda k: jax.vmap(one, in_axes=(0, 1))(k, x).sum()))(kernels)
    for k in range(2):
        expected = jax.grad(plain)(kernels[k], x[:, k])
        np.testing.assert_allclose(gradients[k], expected, rtol=1e-4, atol=1e-3)


def operations(platform, channels):
    """Return how many convolutions the step of one layer holds when compiled for a platform."""
    x = jnp.ones((2, 6, 6, channels))
    params = nn.Conv(4, (3, 3)).init(jax.random.key(0), x)["params"]
    step = jax.jit(jax.grad(lambda p: loss(x, conv_general_dilated, p)))
    lowered = step.trace(params).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("stablehlo.convolution")


def test_chosen_by_platform_and_channels():
    # The input of a first layer gets no gradient: no third convolution anywhere.
    assert operations("cpu", channels=3) == 0
    assert operations("cpu", channels=16) == 1
    assert operations("cuda", channels=3) == operations("tpu", channels=3) == 2


def test_large_patches_are_left_to_lax():
    def count(batch):
        x = jax.ShapeDtypeStruct((batch, 32, 32, 3), jnp.float32)
        kernel = jax.ShapeDtypeStruct((3, 3, 3, 8), jnp.float32)
        conv = functools.partial(
            conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC
        )
        step = jax.jit(jax.grad(lambda k, x: (conv(x, k) ** 2).sum()))
        return step.lower(kernel, x).as_text().count("stablehlo.convolution")

    assert (count(64), count(256)) == (0, 1)  # 7 and 28 MB of patches
