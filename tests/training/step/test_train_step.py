import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import some_images, train_small

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.rng import example_keys
from imgrec_jax.core.state import create
from imgrec_jax.core.task import LossOutput
from imgrec_jax.training.step.train_step import average, make_train_step


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (1, 2 / 11), (80, 0.9), (10_000, 0.9)])
def test_the_average_forgets_where_training_began(step, decay):
    old, new = {"w": np.float32(1.0), "n": np.int32(3)}, {"w": np.float32(5.0), "n": np.int32(4)}
    averaged = average(old, new, 0.9, np.int32(step))
    assert float(averaged["w"]) == pytest.approx(decay * 1.0 + (1 - decay) * 5.0)
    assert int(averaged["n"]) == 4


def test_the_average_has_statistics_of_its_own():
    settings = {"batch_size": 16, "batch_norm": True}
    first, _, _ = train_small(some_images(32), steps=0, **settings)
    one, _, _ = train_small(some_images(32), steps=1, ema_decay=0.99, **settings)
    for old, new, averaged in zip(
        jax.tree.leaves((first.params, first.model_state)),
        jax.tree.leaves((one.params, one.model_state)),
        jax.tree.leaves((one.ema["params"], one.ema["model_state"])),
        strict=True,
    ):
        np.testing.assert_allclose(averaged, 0.1 * old + 0.9 * new, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(averaged, new)


def test_which_weights_are_scored():
    state, _, _ = train_small(some_images(32), batch_size=16, steps=1, ema_decay=0.99)
    assert state.weights() == (state.ema["params"], state.ema["model_state"])
    assert state.weights("ema") == state.weights()
    assert state.weights("params") == (state.params, state.model_state)
    plain, _, _ = train_small(some_images(32), batch_size=16, steps=1)
    assert plain.ema == {}
    assert plain.weights() == (plain.params, plain.model_state)
    with pytest.raises(UsageError, match="expected weights to be 'params': no average is kept"):
        plain.weights("ema")
    with pytest.raises(UsageError, match="expected weights to be 'params' or 'ema', got 'best'"):
        state.weights("best")


class Spy:
    """A task whose sums are the random bits of the keys that it is given."""

    def count(self, batch):
        return {"examples": batch["mask"].sum(dtype=jnp.float32)}

    def loss(self, params, model_state, batch, context):
        bits = {
            name: jax.vmap(jax.random.bits)(batch[name]).astype(jnp.int32)
            for name in ("keys", "partner_keys")
        }
        return LossOutput(0.0 * params, model_state, bits)


def test_a_partner_has_the_key_of_its_own_epoch():
    """With balanced sampling, the partner of a row comes from another epoch than the row."""
    batch = {
        "mask": jnp.ones((1, 2), bool),
        "index": jnp.array([[3, 4]], jnp.int32),
        "epoch": jnp.array([[0, 1]], jnp.int32),
        "partner_index": jnp.array([[7, 8]], jnp.int32),
        "partner_epoch": jnp.array([[5, 2]], jnp.int32),
    }
    sgd, root = optax.sgd(0.1), jax.random.key(7)
    step = make_train_step(Spy(), sgd)
    params = jnp.float32(1.0)
    _, bits = step(create(params, {}, sgd.init(params), ema=False), batch, root)
    for kind in ("", "partner_"):
        keys = example_keys(root, batch[f"{kind}epoch"][0], batch[f"{kind}index"][0])
        expected = jax.vmap(jax.random.bits)(keys).astype(jnp.int32)
        np.testing.assert_array_equal(bits[f"{kind}keys"], expected)
