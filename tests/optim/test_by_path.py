"""Several optimizers in one run, against steps by hand and against optimizers run apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import some_images, train_small

import imgrec_jax
from imgrec_jax import get_config
from imgrec_jax.build.optimizers import (
    build_optimizer,
    build_schedule,
    describe_decay,
    describe_learning,
    over_the_run,
)
from imgrec_jax.core.errors import UsageError
from imgrec_jax.optim.by_path import EveryState, at_moves, every, read_rules
from imgrec_jax.sweeps.vmap_sweep import check_together
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.step import parallel
from imgrec_jax.training.workdir.config_changes import find_changes

PARAMS = {
    "discriminator": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.array([2.0, -0.0])},
    "generator": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0)},
}
PLAIN = "momentum=0.0, nesterov=False, weight_decay=0.0"
TWO = f"discriminator=sgd(0.1, {PLAIN}); generator=sgd(0.01, {PLAIN})|every(2)"


def configured(by_path, **keys):
    settings = {f"optim__{key}": value for key, value in keys.items()}
    return get_config("base", epochs=1, optim__by_path=by_path, **settings)


def optimizer_of(by_path, total=8, **keys):
    config = configured(by_path, **keys)
    return over_the_run(build_optimizer(config, build_schedule(config, total)), config, total)


def walk(optimizer, steps, gradient_at=lambda step: 1.0, params=PARAMS):
    """Return parameters and states from before the first step on, one each for every step."""
    update, path = jax.jit(optimizer.update), [(params, optimizer.init(params))]
    for step in range(steps):
        old, opt_state = path[-1]
        gradients = jax.tree.map(
            functools.partial(jnp.full_like, fill_value=gradient_at(step)), old
        )
        updates, opt_state = update(gradients, opt_state, old)
        path.append((optax.apply_updates(old, updates), opt_state))
    return path


def numbers(path, name, leaf="kernel"):
    """Return the first number of a parameter after each step."""
    return [float(params[name][leaf].ravel()[0]) for params, _ in path[1:]]


def test_steps_of_sgd_by_hand():
    """The gradient is t in step t: the generator moves by 0.01 · 2 and 0.01 · 4."""
    path = walk(optimizer_of(TWO), 4, lambda step: step + 1.0)
    assert numbers(path, "discriminator") == pytest.approx([1.9, 1.7, 1.4, 1.0])
    assert numbers(path, "generator") == pytest.approx([2.0, 1.98, 1.98, 1.94])


def test_it_moves_as_two_optimizers_on_two_trees():
    rules = "discriminator=adam(2e-2, b1=0.5); generator=rmsprop(1e-2, momentum=0.5)"
    params, _ = walk(optimizer_of(rules), 5, lambda step: np.sin(step + 1.0))[-1]
    separate = {
        "discriminator": optax.adam(2e-2, b1=0.5, b2=0.999, eps=1e-8),
        "generator": optax.rmsprop(1e-2, decay=0.9, eps=1e-8, momentum=0.5),
    }
    for name, optimizer in separate.items():
        alone = walk(optimizer, 5, lambda step: np.sin(step + 1.0), {name: PARAMS[name]})
        expected, _ = alone[-1]
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-6), params[name], expected[name]
        )


def test_every_uses_the_gradients_of_its_own_steps_alone():
    """Moves at steps 3 and 6: Adam that sees the gradients of these two."""
    gradients = [5.0, -3.0, 0.5, 7.0, 1.0, -2.0, 4.0]
    path = walk(every(optax.adam(0.1), 3), 7, gradients.__getitem__)
    alone = walk(optax.adam(0.1), 2, [0.5, -2.0].__getitem__)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-6), path[-1][0], alone[-1][0]
    )


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", ["adam", "muon", "adafactor", "sgd"])
def test_between_moves_nothing_changes_to_the_bit(name):
    """A bias of -0.0 stays one, too."""
    path = walk(optimizer_of(f".*={name}(0.1)|every(3)"), 7, np.cos)
    states = [opt_state.inner_states["rule_0"].inner_state for _, opt_state in path]
    assert all(isinstance(one, EveryState) for one in states)
    assert [int(one.step) for one in states] == list(range(8))
    for step in range(1, 8):
        (old, _), (new, _) = path[step - 1 : step + 1]
        moved = step in {3, 6}
        kept = [a == b for a, b in zip(bits(old), bits(new), strict=True)]
        assert kept == [not moved] * len(kept)
        assert (bits(states[step - 1].inner) == bits(states[step].inner)) != moved


def test_all_groups_follow_the_schedule_of_the_run():
    """Linear from 0.5 to 0 in 8 steps: the rate of step t, from 0, is 1 - t / 8 of the peak."""
    keys = {"schedule": "linear", "learning_rate": 0.5}
    path = walk(optimizer_of(TWO, **keys), 4)
    shape = [1, 7 / 8, 6 / 8, 5 / 8]
    expected = 2 - 0.1 * np.cumsum(shape)
    assert numbers(path, "discriminator") == pytest.approx(list(expected))
    generator = 2 - 0.01 * np.cumsum([0, shape[1], 0, shape[3]])
    assert numbers(path, "generator") == pytest.approx(list(generator))
    assert [float(at_moves(lambda step: step, k=3, factor=2.0)(m)) for m in range(3)] == [4, 10, 16]


def test_without_a_rate_of_its_own_a_group_has_that_of_the_run():
    """Scaled to the batch: 0.1 for 32 is 0.2 for 64; so are the rates of the rules."""
    rules = f"generator=sgd({PLAIN}); .*=sgd(0.3, {PLAIN})"
    path = walk(optimizer_of(rules, learning_rate=0.1, reference_batch=32), 1)
    assert numbers(path, "generator") == pytest.approx([1.8])
    assert numbers(path, "discriminator") == pytest.approx([1.4])


def test_settings_of_a_rule_stand_over_those_of_the_block():
    rules = "discriminator=sgd(0.1, momentum=0.0); generator=sgd(0.1)"
    keys = {"sgd__momentum": 0.5, "sgd__nesterov": False, "sgd__weight_decay": 0.0}
    path = walk(optimizer_of(rules, **keys), 2)
    assert numbers(path, "discriminator") == pytest.approx([1.9, 1.8])
    assert numbers(path, "generator") == pytest.approx([1.9, 1.75])


def test_decay_by_path_and_frozen_parameters_beside_it():
    """By hand: 2 - 0.1 (1 + 0.5 · 2) where decayed, and the generator's bias stays."""
    settings = "momentum=0.0, nesterov=False"
    rules = f"discriminator=sgd(0.1, {settings}, weight_decay=0.5); .*=sgd(0.1, {settings})"
    keys = {"sgd__weight_decay": 0.0, "freeze": "generator/bias"}
    path = walk(optimizer_of(rules, **keys), 1)
    assert numbers(path, "discriminator") == pytest.approx([1.8])
    assert numbers(path, "discriminator", "bias") == pytest.approx([1.9])
    assert numbers(path, "generator") == pytest.approx([1.9])
    assert numbers(path, "generator", "bias") == [2.0]
    path = walk(optimizer_of(rules, **keys, decay="discriminator/bias"), 1)
    assert numbers(path, "discriminator") == pytest.approx([1.9])
    assert numbers(path, "discriminator", "bias") == pytest.approx([1.8])


def test_a_group_of_frozen_parameters_has_no_state():
    opt_state = optimizer_of("generator=adam; .*=adam", freeze="generator").init(PARAMS)
    assert opt_state.inner_states.keys() == {"rule_1", "frozen"}


def test_rates_clipping_and_early_stops_beside_it():
    path = walk(optimizer_of(TWO, multipliers="kernel=2;generator=3"), 2)
    assert numbers(path, "discriminator") == pytest.approx([1.8, 1.6])
    assert numbers(path, "generator", "bias") == pytest.approx([2.0, 1.97])
    # The norm is of all 15 numbers, those of the group that does not move included.
    path = walk(optimizer_of(TWO, clip_norm=1.0), 1)
    assert numbers(path, "discriminator") == pytest.approx([2 - 0.1 / np.sqrt(15)])
    path = walk(optimizer_of(TWO, freeze_later="discriminator=0.25"), 4)  # an epoch has 8 steps
    assert numbers(path, "discriminator") == pytest.approx([1.9, 1.8, 1.8, 1.8])
    assert numbers(path, "generator") == pytest.approx([2.0, 1.99, 1.99, 1.98])


def test_slow_weights_of_groups_that_always_move():
    rules = f"discriminator=sgd(0.1, {PLAIN}); generator=sgd(0.2, {PLAIN})"
    path = walk(optimizer_of(rules, lookahead="lookahead(every=2, decay=0.5)"), 2)
    assert numbers(path, "discriminator") == pytest.approx([1.9, 1.9])
    assert numbers(path, "generator") == pytest.approx([1.8, 1.8])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("genrator=adam; .*=adam", "optim.by_path .*got 'genrator'; did you mean 'generator'"),
        ("discriminator=adam", "a rule for every parameter, .*leaves out generator/bias"),
        (".*=adam; generator=sgd", "each rule of optim.by_path to be of use, got 'generator'"),
        ("(=adam", "expected a regular expression in optim.by_path, got '\\('"),
        ("generator", "PATTERN=OPTIMIZER.*, got 'generator'; try 'discr"),
        (".*=", "PATTERN=OPTIMIZER.*, got '.\\*='"),
        ("=adam", "PATTERN=OPTIMIZER.*, got '=adam'"),
        (".*=adam(", "expected a pipeline such as"),
        (".*=adamm(1e-3)", "unknown optimizer 'adamm'; did you mean 'adam'"),
        (".*=lbfgs", "got 'lbfgs': it needs the loss itself"),
        (".*=adam(1e-3, bta1=0.5)", "optimizer 'adam': .*'bta1'; did you mean 'b1'"),
        (
            ".*=adam(1e-3, b1='high')",
            "adam\\(b1=...\\) .*below 1, got 'high'",
        ),
        (".*=sgd(1e-3, nesterov=1)", "sgd\\(nesterov=...\\) to be True or False, got 1"),
        (
            ".*=sgd(1e-3, momentum='x')",
            "sgd\\(momentum=...\\) .*below 1, got 'x'",
        ),
        (".*=adamw(1e-3, mask='x')", "literals as settings of 'adamw'.*mask='x'; try optim.decay"),
        (".*=adam(0)", "adam\\(RATE, setting=...\\) .*above 0, .*got adam\\(0\\)"),
        (".*=adam('fast')", "above 0, .*got adam\\('fast'\\)"),
        (".*=adam(True)", "above 0, .*got adam\\(True\\)"),
        (".*=adam(1e-3, 0.5)", "setting=...\\) .*got adam\\(0.001, 0.5\\)"),
        (".*=adam|every(0)", "every\\(k=...\\) to be a whole number from 1 to 2147483647, got 0"),
        (".*=adam|every(1.5)", "to be a whole number from 1 to 2147483647, got 1.5"),
        (".*=adam|every", "'every': expected every\\(k\\), got missing"),
        (".*=adam|evry(2)", "unknown stage of optim.by_path 'evry'; did you mean 'every'"),
        (".*=adam|every(2)|every(3)", "one stage behind an optimizer of optim.by_path, got 2"),
    ],
)
def test_rules_that_are_wrong(rules, message):
    with pytest.raises(UsageError, match=message) as caught:
        optimizer_of(rules).init(PARAMS)
    assert "\n" not in str(caught.value)


def test_what_does_not_go_with_it():
    with pytest.raises(UsageError, match=r"optim.lookahead, got 'generator' with every\(2\)"):
        optimizer_of(TWO, lookahead="lookahead(every=2)")
    with pytest.raises(UsageError, match=r"weight decay for optim.decay='kernel', got 'adam, yogi"):
        optimizer_of("generator=adam; .*=yogi", decay="kernel")
    with pytest.raises(UsageError, match=r"got optim.by_path, whose .*; try --backend=local"):
        check_together([configured(".*=adam")])


def test_the_sign_behind_a_pattern():
    """The pattern may hold groups that look ahead or behind."""
    rules = read_rules("(?=gen)g(?<=g)e = adam(1e-4, b1=0.0) | every(2);")
    assert [rule.pattern for rule in rules] == ["(?=gen)g(?<=g)e"]
    assert rules[0].optimizer == ("adam", (), {"b1": 0.0})
    assert (rules[0].rate, rules[0].every) == (1e-4, 2)
    assert read_rules("") == read_rules(" ; ") == ()


def test_the_card_names_the_groups():
    rules = "discriminator=adam(2e-4); generator=adamw(weight_decay=0.1)|every(2)"
    config = configured(rules, reference_batch=32)
    assert describe_learning(config) == (
        "discriminator: adam, rate 0.0002; generator: adamw, rate 0.001, every 2 steps; constant; "
        "rates are for 32, linear in the batch of 64"
    )
    assert describe_learning(configured(rules)).endswith("every 2 steps; constant")
    assert describe_decay(config, PARAMS) == "0.1 on 1 of 4 arrays (6 of 15 parameters), none on 3"
    both = configured("discriminator=sgd(0.1); generator=adamw(weight_decay=0.1)")
    assert describe_decay(both, PARAMS) == (
        "0.0005 on 1 of 4 arrays (4 of 15 parameters), "
        "0.1 on 1 of 4 arrays (6 of 15 parameters), none on 2"
    )


def test_settings_of_the_named_optimizers_count_as_read():
    before = configured(".*=adamw|every(2)").to_dict()
    for name, changes in {"adamw": 1, "lamb": 0}.items():
        after = configured(".*=adamw|every(2)", **{f"{name}__b1": 0.5}).to_dict()
        assert len(find_changes(before, after, get_config("base").to_dict())) == changes


IN_TRAINING = "Conv_0=adamw(0.01, b1=0.5)|every(2); .*=sgd(0.1)"


@functools.cache
def trained(**layout):
    settings = {"batch_size": 16, "optimizer": optimizer_of(IN_TRAINING, schedule="linear")}
    state, _, program = train_small(some_images(16), **{"steps": 4, **settings, **layout})
    assert program.traces <= 1
    return state


@pytest.mark.parametrize(
    "layout", [{"micro_batches": 4}, {"devices": 4}, {"steps_per_call": 2}, {"fsdp": 2}], ids=str
)
def test_how_a_batch_is_worked_through_changes_nothing(layout):
    if "fsdp" in layout:  # parameters and their states are cut over two devices
        layout = {"layout": parallel.choose("mesh", jax.devices()[:4], fsdp=2)}
    one, other = trained(), trained(**layout)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, one.params, other.params)
    assert not np.allclose(
        one.params["Conv_0"]["kernel"], trained(steps=0).params["Conv_0"]["kernel"]
    )


def test_a_checkpoint_between_two_moves_comes_back(tmp_path):
    first, state = trained(steps=0), trained(steps=3)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state, {}, {})
        restored, _ = checkpoints.restore_newest(first)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_a_run_is_trained_and_loaded(tmp_path):
    rules = "conv=adam(1e-3)|every(2); .*=sgd(1e-2)"
    keys = {"epochs": 1, "data__examples_per_class": 8, "batch_size": 40}
    run = imgrec_jax.train(get_config("digits", optim__by_path=rules, **keys), tmp_path)
    again = imgrec_jax.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, run.params, again.params)
