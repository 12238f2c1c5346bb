import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.optimizers import build_optimizer, build_schedule, over_the_run
from imgrec_jax.core.errors import UsageError
from imgrec_jax.optim.lookahead import lookahead

PARAMS = {"conv": {"kernel": jnp.full((1, 2), 4.0), "bias": jnp.full(2, 4.0)}}


def walk(steps, *, total=6, **keys):
    """Return the parameters after each step of SGD at rate 1, whose gradients are all 1."""
    settings = {"momentum": 0.0, "weight_decay": 0.0}
    config = get_config(
        "base",
        epochs=2,
        optim__name="sgd",
        optim__learning_rate=1.0,
        **{f"optim__sgd__{key}": value for key, value in settings.items()},
        **{f"optim__{key}": value for key, value in keys.items()},
    )
    optimizer = build_optimizer(config, build_schedule(config, total))
    optimizer = over_the_run(optimizer, config, total)
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    params, opt_state, path = PARAMS, optimizer.init(PARAMS), []
    for _ in range(steps):
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        path.append(params["conv"])
    return path


def test_lookahead_goes_back_to_slow_weights():
    """By hand: from 4 two steps to 2 and half of the way back to 3; then 2, 1 and back to 2."""
    path = walk(6, lookahead="lookahead(every=2, decay=0.5)")
    kernel = [float(at["kernel"][0, 0]) for at in path]
    assert kernel == pytest.approx([3.0, 3.0, 2.0, 2.0, 1.0, 1.0])


def test_the_decay_of_lookahead_grows_over_the_run():
    """0.8 t / 6 is 0.4 and 0.8: 4 + 0.6 (1 - 4) = 2.2, then 2.2 + 0.2 (-0.8 - 2.2) = 1.6."""
    path = walk(6, lookahead="lookahead(every=3, decay=0.8, power=1.0)")
    kernel = [float(at["kernel"][0, 0]) for at in path]
    assert kernel == pytest.approx([3.0, 2.0, 2.2, 1.2, 0.2, 1.6])


def test_the_last_step_ends_on_slow_weights():
    path = walk(5, total=5, lookahead="lookahead(every=4, decay=0.5)")
    kernel = [float(at["kernel"][0, 0]) for at in path]
    assert kernel == pytest.approx([3.0, 2.0, 1.0, 2.0, 1.5])


def test_slow_weights_begin_with_those_that_training_begins_with():
    """Those of `init` may have been replaced since, by loaded ones or a whitening kernel."""
    optimizer = lookahead(optax.sgd(1.0), 10, every=1, decay=0.5)
    opt_state = optimizer.init({"w": jnp.zeros(1)})
    updates, _ = optimizer.update({"w": jnp.ones(1)}, opt_state, {"w": jnp.full(1, 8.0)})
    assert float(updates["w"][0]) == -0.5


def test_parameters_that_learn_for_their_first_epochs_alone():
    """Two epochs of three steps; the bias learns for one."""
    path = walk(6, freeze_later="bias=1")
    assert [float(at["bias"][0]) for at in path] == [3.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    assert [float(at["kernel"][0, 0]) for at in path] == [3.0, 2.0, 1.0, 0.0, -1.0, -2.0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lookahead": "lookahead(every=0)"}, r"every=.* whole number from 1 to .*got 0; try 5"),
        ({"lookahead": "lookahead(decay=1.0)"}, r"decay=.* to below 1, got 1.0; try 0.5"),
        ({"lookahead": "slow(2)"}, "lookahead"),
        ({"freeze_later": "dense=2"}, r"patterns of optim.freeze_later .* got 'dense'"),
    ],
)
def test_what_cannot_be_is_told(keys, message):
    with pytest.raises(UsageError, match=message):
        walk(1, **keys)


def test_the_recipe_of_airbench_leaves_its_whitening_as_it_was_made():
    """Over two syncs of lookahead: the kernel to the bit, and the bias after its epochs."""
    config = get_config("cifar10_airbench94")
    optimizer = over_the_run(build_optimizer(config, build_schedule(config, 490)), config, 490)
    norm = {"scale": jnp.ones(2), "bias": jnp.zeros(2)}
    params = {
        "whiten": {"kernel": jnp.full((2, 3), 0.3), "bias": jnp.zeros(3)},
        "block1_1": {"kernel": jnp.full((2, 2), 0.7)},
        "block1_1_norm": norm,
    }
    opt_state = optimizer.init(jax.tree.map(jnp.zeros_like, params))
    step = jax.jit(optimizer.update)
    moved = params
    for _ in range(10):
        updates, opt_state = step(jax.tree.map(jnp.ones_like, moved), opt_state, moved)
        moved = optax.apply_updates(moved, updates)
    np.testing.assert_array_equal(moved["whiten"]["kernel"], params["whiten"]["kernel"])
    np.testing.assert_array_equal(moved["block1_1_norm"]["scale"], np.ones(2))
    # The biases of norms go 64 times as far as that of the whitening layer.
    whiten, bias = float(moved["whiten"]["bias"][0]), float(moved["block1_1_norm"]["bias"][0])
    assert bias / whiten == pytest.approx(64.0, rel=1e-5)
    assert whiten < -1.0
