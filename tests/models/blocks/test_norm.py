import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.models.blocks.norm import BatchNorm

VALUES = jnp.array([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0], [1e6, 1e6]])
MASK = jnp.array([True, True, True, False])


def train(net, x, mask=None):
    variables = net.init(jax.random.key(0), x, train=False)
    y, new = net.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
    return y, new["batch_stats"]


def test_statistics_of_the_valid_rows_by_hand():
    """Values 1, 3, 5: mean 3, variance 8/3, unbiased 4; 10 times that for the other channel."""
    y, stats = train(BatchNorm(momentum=0.9, epsilon=0.0), VALUES, MASK)
    np.testing.assert_allclose(stats["mean"], [0.3, 3.0], rtol=1e-6)
    np.testing.assert_allclose(stats["var"], [0.9 + 0.4, 0.9 + 40.0], rtol=1e-5)
    step = 2 / np.sqrt(8 / 3)
    np.testing.assert_allclose(y[:3, 0], [-step, 0.0, step], atol=1e-6)


def test_it_equals_flax_where_nothing_is_masked():
    x = jax.random.normal(jax.random.key(1), (8, 4, 4, 3)) * 2 + 1
    y, stats = train(BatchNorm(momentum=0.9), x)
    theirs = nn.BatchNorm(momentum=0.9, use_running_average=False)
    expected, new = theirs.apply(
        nn.BatchNorm(use_running_average=True).init(jax.random.key(0), x),
        x,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(stats["mean"], new["batch_stats"]["mean"], rtol=1e-5)


def test_evaluation_uses_the_running_statistics():
    net = BatchNorm(epsilon=0.0)
    variables = {
        "params": {"scale": jnp.array([2.0, 1.0]), "bias": jnp.array([1.0, 0.0])},
        "batch_stats": {"mean": jnp.array([1.0, 10.0]), "var": jnp.array([4.0, 100.0])},
    }
    y = net.apply(variables, VALUES[:2], train=False)
    np.testing.assert_allclose(y, [[1.0, 0.0], [3.0, 2.0]], rtol=1e-6)


def test_a_batch_of_padding_alone_leaves_the_statistics():
    y, stats = train(BatchNorm(), VALUES, jnp.zeros(4, bool))
    np.testing.assert_array_equal(stats["mean"], [0.0, 0.0])
    np.testing.assert_array_equal(stats["var"], [1.0, 1.0])
    assert np.isfinite(y).all()


@pytest.mark.parametrize("valid", [[4, 4], [4, 1], [5, 0]])
def test_devices_with_unequal_numbers_of_valid_rows(valid):
    """Two devices that hold `valid` rows each, against one that holds all of them."""
    x = jax.random.normal(jax.random.key(2), (2, 5, 3))
    mask = jnp.arange(5)[None] < jnp.array(valid)[:, None]
    net = BatchNorm(axis_name="data")
    variables = net.init(jax.random.key(0), x[0], train=False)

    def apply(x, mask):
        return net.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])

    y, stats = jax.pmap(apply, axis_name="data", devices=jax.devices()[:2])(x, mask)
    expected, expected_stats = train(BatchNorm(), x.reshape(10, 3), mask.reshape(10))
    np.testing.assert_allclose(y.reshape(10, 3), expected, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(
            stats["batch_stats"][name][0], expected_stats[name], rtol=1e-5, atol=1e-6
        )


def test_low_precision_input_is_averaged_in_float32():
    x = jnp.full((4096, 1), 1.0, jnp.bfloat16).at[::2].set(3.0)
    _, stats = train(BatchNorm(momentum=0.0, dtype=jnp.bfloat16), x)
    np.testing.assert_allclose(stats["mean"], [2.0], rtol=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("ratio", [1e2, 1e3, 1e4])
def test_a_mean_far_larger_than_the_deviation(ratio, devices):
    """Mean squares in float32 give a deviation of 313 at 10,000; a masked row is farther away."""
    x = ratio + np.random.default_rng(0).normal(size=(devices, 8, 6, 6, 2))
    x[:, 3] = -1e6
    mask = np.arange(8)[None].repeat(devices, 0) != 3
    valid = x[mask].astype(np.float32)
    x, mask = jnp.asarray(x, jnp.float32), jnp.asarray(mask)
    net = BatchNorm(momentum=0.0, epsilon=0.0, axis_name="data")
    variables = net.init(jax.random.key(0), x[0], train=False)

    def apply(x, mask):
        return net.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])

    y, new = jax.vmap(apply, axis_name="data")(x, mask)
    true = valid.astype(np.float64)
    expected = (true - true.mean((0, 1, 2))) / true.std((0, 1, 2))
    np.testing.assert_allclose(y[mask], expected, atol=3e-7 * ratio)
    np.testing.assert_allclose(new["batch_stats"]["var"][0], true.var((0, 1, 2), ddof=1), rtol=1e-4)


def test_the_gradient_is_that_of_the_definition():
    """The mean is held in the second pass: its derivative there must be zero indeed."""
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(1), (5, 3, 2))
    mask = jnp.array([True, True, False, True, True])
    net = BatchNorm()
    variables = net.init(jax.random.key(0), x, train=False)
    pull = jax.random.normal(jax.random.key(2), x.shape)

    def ours(x):
        y, _ = net.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
        return (y * pull)[mask].sum()

    def definition(x):
        of = x[mask]
        mean, var = of.mean((0, 1), keepdims=True), of.var((0, 1), keepdims=True)
        return ((of - mean) / jnp.sqrt(var + 1e-5) * pull[mask]).sum()

    np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(definition)(x), atol=1e-5)
