"""One small network, every optimizer."""

import functools

import jax
import numpy as np
import pytest
from small import on, small_task, some_images, train_small

from imgrec_jax import get_config
from imgrec_jax.build.optimizers import OPTIMIZERS, build_optimizer, build_schedule
from imgrec_jax.optim.groups import Rules
from imgrec_jax.optim.sam import sharpness_aware
from imgrec_jax.training.checkpoints.orbax import Checkpoints

SOURCE = some_images(16)
FINDS_ITS_RATE = {"cocob", "dadapt_adamw", "dog", "dowg", "prodigy"}  # which is for a factor of 1


def optimizer_of(name, **keys):
    rate = 1.0 if name in FINDS_ITS_RATE else 0.01
    config = get_config("base", optim__name=name, optim__learning_rate=rate, **keys)
    return build_optimizer(config, build_schedule(config, 10))


@functools.cache
def trained(name, steps, **layout):
    state, _, program = train_small(
        SOURCE, batch_size=16, steps=steps, optimizer=optimizer_of(name), **layout
    )
    assert program.traces <= 1
    return state


WELL_KNOWN = {"adafactor", "adam", "adamw", "lamb", "lars", "lion", "muon", "rmsprop", "sgd"}


@pytest.mark.parametrize(
    "name", [n if n in WELL_KNOWN else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS]
)
def test_every_parameter_moves_and_the_state_comes_back(name, tmp_path):
    first, state = trained("sgd", 0), trained(name, 2)
    for old, new in zip(jax.tree.leaves(first.params), jax.tree.leaves(state.params), strict=True):
        assert np.isfinite(new).all()
        assert not np.array_equal(new, old)
        assert new.dtype == old.dtype
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state, {}, {})
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
        restored, _ = checkpoints.restore(2, like)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    "name", ["sgd", "adamw", "lamb", "lion", "muon", "rmsprop", "adagrad", "adafactor", "lars"]
)
def test_four_devices_give_the_same_training(name):
    one, four = trained(name, 2), trained(name, 2, devices=4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(four.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [n if n == "adamw" else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS]
)
def test_micro_batches_give_the_same_training(name):
    one, parts = trained(name, 2), trained(name, 2, micro_batches=4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_frozen_parameters_come_back_from_a_checkpoint(tmp_path):
    """Orbax leaves out what is masked, and puts it back; training goes on bit for bit."""
    optimizer = optimizer_of("adamw", optim__freeze="Conv_0")
    settings = {"batch_size": 16, "optimizer": optimizer}
    first, _, _ = train_small(SOURCE, steps=0, **settings)
    state, _, _ = train_small(SOURCE, steps=2, **settings)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state, {}, {})
        restored, _ = checkpoints.restore_newest(first)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    conv, dense = (t.params["Conv_0"]["kernel"] for t in (first, state)), state.params["Dense_0"]
    np.testing.assert_array_equal(*conv)
    assert not np.array_equal(dense["kernel"], first.params["Dense_0"]["kernel"])


UPHILL = sharpness_aware(0.5, Rules())


def test_sam_is_the_gradient_uphill():
    """By hand: θ - η g(θ + rho g / |g|), where g of θ comes from plain steps of SGD."""
    settings = {"batch_size": 16, "steps": 1}
    first = trained("sgd", 0).params

    def gradient_at(params):
        task = small_task(on(1))

        def loss(p):
            logits = task.predict(p, {}, {"image": SOURCE.images})
            return -jax.nn.log_softmax(logits)[np.arange(16), SOURCE.labels].mean()

        return jax.grad(loss)(params)

    g = gradient_at(first)
    norm = np.sqrt(sum(float(np.square(x).sum()) for x in jax.tree.leaves(g)))
    top = jax.tree.map(lambda p, x: p + 0.5 * x / norm, first, g)
    expected = jax.tree.map(lambda p, x: p - 0.5 * x, first, gradient_at(top))
    state, sums, _ = train_small(SOURCE, gradient=UPHILL, **settings)
    plain, plain_sums, _ = train_small(SOURCE, **settings)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, state.params, expected)
    assert not np.allclose(state.params["Dense_0"]["kernel"], plain.params["Dense_0"]["kernel"])
    assert float(sums[0]["loss"]) == float(plain_sums[0]["loss"])  # of θ, not of uphill


@pytest.mark.parametrize(
    ("settings", "batch_norm"),
    [
        ({"devices": 4}, True),
        ({"micro_batches": 4}, False),
        ({"devices": 2, "micro_batches": 2}, False),
    ],
)
def test_sam_climbs_along_the_gradient_of_the_whole_batch(settings, batch_norm):
    """11 examples in a batch of 16: two of four devices hold fewer valid rows or none."""
    common = {"batch_size": 16, "steps": 3, "gradient": UPHILL, "batch_norm": batch_norm}
    one, _, _ = train_small(some_images(11), **common)
    other, _, _ = train_small(some_images(11), **settings, **common)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
    for a, b in zip(
        jax.tree.leaves(one.model_state), jax.tree.leaves(other.model_state), strict=True
    ):
        assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()


def test_frozen_parameters_do_not_climb():
    seen = []

    def gradient_fn(params):
        seen.append(params)
        return jax.tree.map(np.ones_like, params), "aux"

    params = {"a": np.zeros(2, np.float32), "b": np.zeros(4, np.float32)}
    _, aux = sharpness_aware(0.5, Rules(freeze="a"))(gradient_fn)(params)
    np.testing.assert_array_equal(seen[1]["a"], [0, 0])
    np.testing.assert_allclose(seen[1]["b"], [0.25] * 4)
    assert aux == "aux"
