"""Winograd's form of a convolution equals the plain one in values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from imgrec_jax.ops.fast import winograd
from imgrec_jax.ops.fast.convolution import conv_general_dilated

NHWC = ("NHWC", "HWIO", "NHWC")
CASES = {
    "whole tiles": ((4, 8, 8, 32), 64, ((1, 1), (1, 1))),
    "odd sizes": ((6, 33, 18, 96), 100, ((1, 1), (1, 1))),
    "no padding": ((8, 9, 7, 64), 32, ((0, 0), (0, 0))),
    "uneven padding": ((4, 5, 6, 100), 96, ((0, 2), (2, 1))),
    "smaller than a tile": ((16, 2, 3, 96), 96, ((1, 1), (1, 1))),
}


def convolution(conv, pads):
    return functools.partial(
        conv, window_strides=(1, 1), padding=pads, dimension_numbers=NHWC, precision="highest"
    )


def arrays(x_shape, outputs, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(x_shape)
    kernel = rng.standard_normal((3, 3, x_shape[-1], outputs)) / 30
    return jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)


def assert_close(ours, theirs):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)


def suits(x, kernel, strides=(1, 1), pads=((1, 1), (1, 1)), with_gradients=True):
    y = jax.eval_shape(
        functools.partial(
            lax.conv_general_dilated,
            window_strides=strides,
            padding=pads,
            dimension_numbers=NHWC,
        ),
        x,
        kernel,
    )
    return winograd.suits(strides, pads, y, kernel, with_gradients=with_gradients)


@pytest.mark.parametrize("at_once", ["all", "in parts"])
@pytest.mark.parametrize("name", CASES)
def test_equals_lax(name, at_once, monkeypatch):
    x_shape, outputs, pads = CASES[name]
    x, kernel = arrays(x_shape, outputs)
    if at_once == "in parts":
        one = winograd._bytes(winograd._outputs(x[:1], pads), kernel)
        monkeypatch.setattr(winograd, "IN_THE_CACHE", one)
    assert suits(x, kernel, pads=pads)
    found = []
    for conv in (conv_general_dilated, lax.conv_general_dilated):
        y, vjp = jax.vjp(jax.jit(convolution(conv, pads)), x, kernel)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        found.append((y, *vjp(jnp.asarray(dy, jnp.float32))))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        assert_close(ours, theirs)


@pytest.mark.parametrize("at_once", ["all", "in parts"])
def test_devices_that_share_a_batch_send_each_other_sums_alone(at_once, monkeypatch):
    x, kernel = arrays((32, 16, 16, 32), 32)
    if at_once == "in parts":
        one = winograd._bytes((1, 16, 16), kernel)
        monkeypatch.setattr(winograd, "IN_THE_CACHE", one)
        assert winograd._images_at_once((32, 16, 16), kernel) == 8
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    batch, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))

    def step(kernel, x):
        y, vjp = jax.vjp(convolution(conv_general_dilated, "SAME"), x, kernel)
        return y, *vjp(y)

    compiled = jax.jit(step, in_shardings=(whole, batch), out_shardings=(batch, batch, whole))
    text = compiled.lower(kernel, x).compile().as_text()
    assert "all-reduce(" in text
    for moving in ("all-gather", "all-to-all", "collective-permute"):
        assert moving not in text, moving


def test_rounds_less_than_five_times_as_much_as_a_plain_sum():
    """It is three times; with the customary points 0, ±1, ±2 it would be six."""
    x, kernel = arrays((8, 16, 16, 256), 96)
    pads = ((1, 1), (1, 1))
    exact = np.zeros((8, 16, 16, 96))
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    for i in range(3):
        for j in range(3):
            exact += padded[:, i : i + 16, j : j + 16] @ np.asarray(kernel[i, j], np.float64)
    error = [
        np.sqrt(np.mean((convolution(conv, pads)(x, kernel) - exact) ** 2))
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    ]
    assert 0 < error[1] < error[0] < 5 * error[1]


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "strides", "pads"),
    [
        ((8, 8, 8, 96), (3, 3, 96, 96), (2, 2), ((1, 1), (1, 1))),
        ((8, 8, 8, 96), (5, 5, 96, 96), (1, 1), ((2, 2), (2, 2))),
        ((8, 8, 8, 31), (3, 3, 31, 96), (1, 1), ((1, 1), (1, 1))),
        ((8, 8, 8, 96), (3, 3, 96, 96), (1, 1), ((3, 1), (1, 1))),
        ((1, 4, 4, 512), (3, 3, 512, 512), (1, 1), ((1, 1), (1, 1))),
        ((0, 8, 8, 96), (3, 3, 96, 96), (1, 1), ((1, 1), (1, 1))),
        ((8, 2, 8, 96), (3, 3, 96, 96), (1, 1), ((0, 0), (0, 0))),
    ],
)
def test_leaves_to_others_what_does_not_gain(x_shape, kernel_shape, strides, pads):
    x = jnp.zeros(x_shape)
    kernel = jnp.zeros(kernel_shape)
    assert not suits(x, kernel, strides, pads)


def test_gains_from_fewer_channels_the_more_stays_in_the_cache():
    """And in training, where transforms serve two passes each."""

    def fewest(images, size, with_gradients):
        for channels in (32, 48, 96):
            x = jax.ShapeDtypeStruct((images, size, size, channels), jnp.float32)
            kernel = jnp.zeros((3, 3, channels, channels))
            if suits(x, kernel, with_gradients=with_gradients):
                return channels
        return None

    assert [fewest(8, 16, training) for training in (True, False)] == [32, 32]
    assert [fewest(128, 32, training) for training in (True, False)] == [32, 48]
    assert [fewest(2, 224, training) for training in (True, False)] == [96, 96]


def test_half_precision_is_left_to_others():
    x = jnp.zeros((8, 8, 8, 96), jnp.bfloat16)
    kernel = jnp.zeros((3, 3, 96, 96), jnp.bfloat16)
    assert not suits(x, kernel)


def test_many_networks_under_vmap_equal_each_alone():
    x, _ = arrays((2, 4, 8, 8, 96), 1)
    kernels = jnp.stack([arrays((1, 1, 1, 96), 96, seed)[1] for seed in range(2)])

    def loss(conv, kernel, x):
        return (convolution(conv, "SAME")(x, kernel) ** 2).sum()

    together = jax.jit(jax.vmap(jax.grad(functools.partial(loss, conv_general_dilated))))
    alone = jax.jit(jax.grad(functools.partial(loss, lax.conv_general_dilated)))
    for k, gradient in enumerate(together(kernels, x)):
        assert_close(gradient, alone(kernels[k], x[k]))
