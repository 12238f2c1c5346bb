"""The formulas of docs/from_formula_to_code.md hold for the code that the page links to."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import on, small_task, some_images, train_small

from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.ops import losses
from imgrec_jax.ops.fast import convolution


def by_loops(x, kernel, bias):
    """Return relu(W * h + b) of one image, written out: every sum a loop."""
    height, width, _ = x.shape
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
    out = np.zeros((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            for k in range(kernel.shape[-1]):
                total = float(bias[k])
                for u in range(3):
                    for v in range(3):
                        for c in range(x.shape[-1]):
                            total += float(padded[i + u, j + v, c]) * float(kernel[u, v, c, k])
                out[i, j, k] = max(total, 0.0)
    return out


@pytest.mark.parametrize("fast", [False, True])
def test_a_convolution_layer_is_its_formula(fast):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(5, 4, 2)).astype(np.float32)
    form = {"conv_general_dilated": convolution.conv_general_dilated} if fast else {}
    layer = nn.Conv(3, (3, 3), bias_init=nn.initializers.normal(1.0), **form)
    params = layer.init(jax.random.key(1), x[None])
    got = nn.relu(layer.apply(params, x[None]))[0]
    expected = by_loops(x, params["params"]["kernel"], params["params"]["bias"])
    assert 0 < (expected > 0).mean() < 1
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_network_is_a_chain_of_layers():
    """The network is f(x; θ): the same numbers from its layers, one after the other."""
    net = ConvNet(num_classes=3, width=2, hidden=4)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    theta = net.init(jax.random.key(0), x)["params"]
    h = np.asarray(x)
    for name in ("conv1", "conv2"):
        h = np.stack([by_loops(one, *kernel_and_bias(theta[name])) for one in h])
        h = h.reshape(2, h.shape[1] // 2, 2, h.shape[2] // 2, 2, -1).max((2, 4))
    h = h.reshape(2, -1)
    kernel, bias = kernel_and_bias(theta["hidden"])
    h = np.maximum(h @ kernel + bias, 0)
    kernel, bias = kernel_and_bias(theta["head"])
    np.testing.assert_allclose(net.apply({"params": theta}, x), h @ kernel + bias, atol=1e-5)


def kernel_and_bias(layer):
    return np.asarray(layer["kernel"]), np.asarray(layer["bias"])


def net_loss(theta, x, label):
    h = jax.nn.relu(x @ theta["W1"] + theta["b1"])
    logits = h @ theta["W2"] + theta["b2"]
    return losses.softmax_cross_entropy(logits[None], label[None])[0]


def by_hand(theta, x, label):
    """The chain rule of a net of two dense layers, from the loss back to the first weights."""
    z1 = x @ theta["W1"] + theta["b1"]
    h = np.maximum(z1, 0)
    z2 = h @ theta["W2"] + theta["b2"]
    p = np.exp(z2 - z2.max())
    p /= p.sum()
    delta2 = p - np.eye(len(p))[label]  # ∂L/∂z²
    delta1 = (theta["W2"] @ delta2) * (z1 > 0)  # ∂L/∂z¹
    gradient = {
        "W1": np.outer(x, delta1), "b1": delta1, "W2": np.outer(h, delta2), "b2": delta2,
    }  # fmt: skip
    return -np.log(p[label]), gradient


def test_automatic_differentiation_is_the_chain_rule_and_the_difference():
    generator = np.random.default_rng(2)
    shapes = {"W1": (4, 5), "b1": (5,), "W2": (5, 3), "b2": (3,)}
    theta = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    x, label = generator.normal(size=4), 1
    single = {name: jnp.asarray(value, jnp.float32) for name, value in theta.items()}
    loss, gradient = jax.value_and_grad(net_loss)(
        single, jnp.asarray(x, jnp.float32), jnp.asarray(label)
    )
    expected_loss, expected = by_hand(theta, x, label)
    assert float(loss) == pytest.approx(expected_loss, rel=1e-5)
    for name, shape in shapes.items():
        np.testing.assert_allclose(gradient[name], expected[name], rtol=1e-4, atol=1e-6)
        for place in np.ndindex(shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = {key: value.copy() for key, value in theta.items()}
                moved[name][place] += step
                sides.append(by_hand(moved, x, label)[0])
            slope = (sides[0] - sides[1]) / 2e-5
            assert float(gradient[name][place]) == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_a_step_of_sgd_is_the_update_rule():
    """θ ← θ - η∇L by the training step itself, against the mean of gradients of each image."""
    source, rate = some_images(8), 0.25
    first, _, _ = train_small(source, batch_size=8, steps=0)
    state, _, _ = train_small(source, batch_size=8, steps=1, optimizer=optax.sgd(rate))
    task = small_task(on(1))

    def loss_of(params, row):
        logits = task.predict(params, {}, {"image": source.images[row : row + 1]})
        return -jax.nn.log_softmax(logits)[0, source.labels[row]]

    gradients = [jax.grad(loss_of)(first.params, row) for row in range(8)]
    mean = jax.tree.map(lambda *g: np.mean(g, axis=0), *gradients)
    for old, new, g in zip(*map(jax.tree.leaves, (first.params, state.params, mean)), strict=True):
        np.testing.assert_allclose(new, old - rate * g, rtol=1e-5, atol=1e-7)
        assert np.abs(g).max() > 0
