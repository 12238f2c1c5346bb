import inspect

import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.optimizers import LEFT_OUT, OPTIMIZERS, build_optimizer, build_schedule
from imgrec_jax.core.errors import UsageError


def schedule_of(text, steps=100):
    return build_schedule(get_config("base", optim__schedule=text, optim__learning_rate=2.0), steps)


def test_constant():
    schedule = schedule_of("constant")
    assert float(schedule(0)) == float(schedule(99)) == 2.0


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("constant(warmup=0.1, cooldown=0.2)", {0: 2 / 11, 10: 2.0, 80: 2.0, 90: 1.0, 100: 0.0}),
        (
            "one_cycle(warmup=0.2, start=0.1, final=0.05)",
            {0: 0.2, 19: 2.0, 59: 1.05, 99: 0.1, 100: 0.1},
        ),
        # torch.optim.lr_scheduler.OneCycleLR(max_lr=2.0, total_steps=100): 12 of 29 steps up.
        ("one_cycle", {0: 0.08, 12: 0.783173, 29: 2.0, 64: 1.0, 99: 8e-6}),
        ("one_cycle(warmup=0)", {0: 2.0, 99: 8e-6}),
        ("step", {0: 2.0, 49: 2.0, 51: 0.2, 74: 0.2, 76: 0.02}),
        ("step(at=(0.3, 0.6), factor=0.5, warmup=0.1)", {0: 2 / 11, 10: 2.0, 31: 1.0, 61: 0.5}),
        ("step(at=0.5)", {49: 2.0, 51: 0.2, 99: 0.2}),
        ("rsqrt(warmup=0.1, timescale=0.1, cooldown=0)", {10: 2.0, 40: 1.0, 100: np.sqrt(0.4)}),
        (
            "rsqrt(warmup=0.1, timescale=0.1, cooldown=0.1)",
            {40: 1.0, 95: np.sqrt(0.4 / 0.95) / 2, 100: 0},
        ),
        ("linear", {0: 2.0, 50: 1.0, 100: 0.0}),
        ("linear(warmup=0.2, start=0.2)", {0: 0.4, 10: 1.2, 20: 2.0, 60: 1.0, 100: 0.0}),
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


@pytest.mark.parametrize(
    "text",
    [
        "cosine(warmup=0.2)",
        "cosine(warmup_epochs=4)",
        "cosine(warmup_steps=40)",
        "cosine(warmup_examples=2560)",
    ],
)
def test_a_length_in_every_unit(text):
    """20 epochs of 10 steps, in batches of 64: the peak comes after 40 steps."""
    rates = [float(schedule_of(text, 200)(step)) for step in (0, 39, 40, 120)]
    assert rates == pytest.approx([2 / 41, 80 / 41, 2.0, 1.0], rel=1e-5)


def test_several_places_in_epochs():
    schedule = schedule_of("step(at_epochs=(10, 15), factor=0.5)", 200)
    assert [float(schedule(s)) for s in (99, 101, 149, 151)] == [2.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("cosine(warmup_epochs=21)", "to fit into the run of 20, got 21"),
        ("cosine(warmup=0.1, warmup_steps=5)", "expected one length of warmup"),
        ("cosine(warmup_weeks=1)", "did you mean 'warmup'"),
        ("cosine(final_steps=1)", "final_steps"),
        ("cosine(warmup_steps='a')", "to be a number, got 'a'"),
        ("rsqrt(warmup=0.6, cooldown=0.6)", "parts of training"),
        ("step(at=(0.5, 0.5))", "different places"),
        ("step(at=0.1, warmup=0.2)", "after the warm-up"),
    ],
)
def test_a_length_that_makes_no_sense(text, excerpt):
    with pytest.raises(UsageError, match=excerpt):
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


def test_every_block_of_the_base_config_is_taken_by_its_optimizer():
    blocks = {key for key, value in get_config("base").optim.items() if hasattr(value, "items")}
    assert {"adafactor", "adagrad", "adamw", "lamb", "lion", "muon", "rmsprop", "sgd"} < blocks
    for name in blocks:
        config = get_config("base", optim__name=name)
        build_optimizer(config, build_schedule(config, 10))


def test_every_optimizer_of_optax_can_be_named_or_says_why_not():
    """The functions of optax that return an optimizer: those that take a learning rate."""
    places = [optax, optax.contrib]
    found = {
        name
        for place in places
        for name, function in vars(place).items()
        if callable(function)
        and not name.startswith(("_", "scale_by", "inject"))
        and name.islower()
        if {"learning_rate", "max_learning_rate"} & set(parameters(function))
    }
    assert len(found) > 40
    assert found - {"sgd"} <= OPTIMIZERS.keys() | LEFT_OUT.keys()
    assert not OPTIMIZERS.keys() & LEFT_OUT.keys()
    assert OPTIMIZERS.keys() <= found


def parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()


def test_an_optimizer_that_needs_more_than_the_gradient_says_so():
    with pytest.raises(UsageError, match="got 'lbfgs': it needs the loss itself"):
        first_update("lbfgs")


def test_an_unknown_optimizer_gets_a_suggestion():
    with pytest.raises(UsageError, match="unknown optimizer 'lammb'; did you mean 'lamb'"):
        first_update("lammb")


def test_a_setting_that_an_optimizer_does_not_take():
    config = get_config("base").unlock()
    config.optim.adam.bta1 = 0.5
    with pytest.raises(UsageError, match=r"optimizer 'adam': .*'bta1'"):
        build_optimizer(config, build_schedule(config, 10))


def test_muon_makes_the_update_orthogonal():
    """Of a kernel [4, 3] all singular values come near one, times 0.2 · sqrt(4) and the rate."""
    generator = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(generator.normal(size=(4, 3)), jnp.float32)}
    keys = {"optim__muon__weight_decay": 0.0, "optim__learning_rate": 0.1}
    config = get_config("base", optim__name="muon", **keys)
    optimizer = build_optimizer(config, build_schedule(config, 10))
    update = optimizer.update(params, optimizer.init(params), params)[0]["kernel"]
    values = np.linalg.svd(np.asarray(update), compute_uv=False)
    assert (np.abs(values / (0.1 * 0.2 * 2.0) - 1) < 0.5).all()
    assert float((update * params["kernel"]).sum()) < 0


def test_muon_decays_the_kernel_by_the_rate():
    with_decay, bias = first_update("muon", weight_decay=0.1)
    without, same_bias = first_update("muon", weight_decay=0.0)
    assert with_decay - without == pytest.approx(-0.1 * 0.1 * 3.0, rel=1e-4)
    assert bias == same_bias < 0


def test_the_last_rate_of_one_cycle_is_its_final_fraction():
    """4e-6 of the peak, where one step earlier is 125 times as much."""
    schedule = schedule_of("one_cycle", steps=100)
    assert float(schedule(99)) == pytest.approx(8e-6, rel=1e-3)
    assert float(schedule(98)) > 1e-3
    assert float(schedule_of("one_cycle", steps=1)(0)) == 2.0


def test_lamb_scales_kernels_alone_by_norms():
    """Undecayed parameters, biases and scales of norms, take Adam's first step: the rate itself."""
    config = get_config("base", optim__name="lamb")
    optimizer = build_optimizer(config, lambda step: 0.5)
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    gradient = {"kernel": jnp.full((2, 2), 0.1), "bias": jnp.full(2, 0.1)}
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(updates["bias"], -0.5, rtol=1e-4)
    np.testing.assert_allclose(updates["kernel"], -0.5 * 3.0, rtol=1e-4)
