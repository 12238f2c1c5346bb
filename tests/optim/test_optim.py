import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.core.errors import UsageError
from imgrec_jax.optimization import OPTIMIZERS, build_optimizer, build_schedule


def schedule_of(text, steps=100):
    return build_schedule(get_config("base", optim__schedule=text, optim__learning_rate=2.0), steps)


def test_constant():
    schedule = schedule_of("constant")
    assert float(schedule(0)) == float(schedule(99)) == 2.0


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("linear", {0: 2.0, 50: 1.0, 100: 0.0}),
        ("linear(warmup=0.2)", {0: 2 / 21, 10: 22 / 21, 20: 2.0, 60: 1.0, 100: 0.0}),
        ("linear(warmup=0.2, final=0.5)", {20: 2.0, 60: 1.5, 100: 1.0}),
        ("cosine", {0: 2.0, 25: 1 + np.sqrt(0.5), 50: 1.0, 100: 0.0}),
        ("cosine(warmup=0.1)", {0: 2 / 11, 10: 2.0, 55: 1.0, 100: 0.0}),
        ("cosine(final=0.1)", {0: 2.0, 50: 1.1, 100: 0.2}),
    ],
)
def test_rates_by_hand(text, rates):
    schedule = schedule_of(text)
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-5), step


@pytest.mark.parametrize("text", ["", "constant|cosine", "cosine(warmup=1.0)", "linear(final=2)"])
def test_impossible_schedules_are_refused(text):
    with pytest.raises(UsageError, match="expected"):
        schedule_of(text)


def test_an_unknown_schedule_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        schedule_of("cosin")


def first_update(name, gradient=0.5, parameter=3.0, **settings):
    keys = {f"optim__{name}__{key}": value for key, value in settings.items()}
    config = get_config("base", optim__name=name, optim__learning_rate=0.1, **keys)
    optimizer = build_optimizer(config, build_schedule(config, 10))
    params = {"kernel": jnp.full((1, 1), parameter), "bias": jnp.full((1,), parameter)}
    gradients = {"kernel": jnp.full((1, 1), gradient), "bias": jnp.full((1,), gradient)}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return float(updates["kernel"][0, 0]), float(updates["bias"][0])


def test_the_first_step_of_adam_is_the_rate():
    """Bias-corrected, m / sqrt(v) is the sign of the gradient."""
    assert first_update("adam") == pytest.approx((-0.1, -0.1), rel=1e-5)


def test_adamw_decays_matrices_alone():
    kernel, bias = first_update("adamw", weight_decay=0.1)
    assert kernel == pytest.approx(-0.1 - 0.1 * 0.1 * 3.0, rel=1e-5)
    assert bias == pytest.approx(-0.1, rel=1e-5)


def test_sgd_with_nesterov_momentum_and_decay():
    """The update is g + momentum · g for the first step, where g includes the decay of matrices."""
    kernel, bias = first_update("sgd", momentum=0.9, nesterov=True, weight_decay=0.01)
    assert kernel == pytest.approx(-0.1 * 1.9 * (0.5 + 0.01 * 3.0), rel=1e-5)
    assert bias == pytest.approx(-0.1 * 1.9 * 0.5, rel=1e-5)


def test_every_optimizer_has_its_block_in_the_base_config():
    blocks = {key for key, value in get_config("base").optim.items() if hasattr(value, "items")}
    assert blocks == set(OPTIMIZERS)
