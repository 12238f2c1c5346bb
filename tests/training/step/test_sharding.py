import jax
import numpy as np
import optax
import pytest
from small import initial_state, on, small_task

from imgrec_jax.core.errors import UsageError
from imgrec_jax.training.step.parallel import choose
from imgrec_jax.training.step.sharding import Rule, axis_to_cut, parse_rules, unmatched


def test_rules_are_read_in_order():
    assert parse_rules("a/b=0; c=-1;d=none") == (Rule("a/b", 0), Rule("c", -1), Rule("d", None))
    assert parse_rules("") == ()


@pytest.mark.parametrize("text", ["kernel", "kernel=x", "=1", "(=1"])
def test_a_rule_that_cannot_be_read(text):
    with pytest.raises(UsageError, match=r"expected parallel.rules as PATTERN=AXIS;..., got"):
        parse_rules(text)


@pytest.mark.parametrize(
    ("path", "shape", "parts", "axis"),
    [
        ("params/Dense_0/kernel", (4096, 128), 8, 0),  # the longest
        ("params/Dense_0/kernel", (4098, 128), 8, 1),  # that divides
        ("params/Conv_0/kernel", (3, 3, 32, 32), 8, 3),  # the last of equals
        ("params/Dense_0/kernel", (4096, 128), 1, None),
        ("params/Dense_0/bias", (128,), 8, None),  # small ones stay whole
        ("params/odd", (1031, 7), 8, None),
        ("params/head/kernel", (64, 16), 8, 1),  # by rule
        ("params/keep/kernel", (64, 128), 8, None),  # by rule
    ],
)
def test_which_axis_is_cut(path, shape, parts, axis):
    rules = parse_rules("head/kernel=-1;keep=none;kernel=0")[:2]
    assert axis_to_cut(path, shape, parts, rules) == axis


@pytest.mark.parametrize("axis", ["2", "-3", "1"])
def test_a_rule_for_an_axis_that_does_not_divide(axis):
    with pytest.raises(
        UsageError, match=r"expected an axis of head/kernel \[64, 10\] that divides"
    ):
        axis_to_cut("head/kernel", (64, 10), 8, parse_rules(f"head={axis}"))


def test_patterns_that_match_nothing_are_named():
    assert unmatched(["a/kernel", "a/bias"], parse_rules("bais=none;kernel$=0")) == ["bais"]


@pytest.mark.parametrize("fsdp", [1, 2, 4, 8])
def test_the_state_on_each_device_falls_as_one_in_n(fsdp):
    layout = choose("mesh", jax.devices(), fsdp=fsdp)
    task = small_task(layout, width=512)
    state = layout.place(initial_state(task, optax.adam(1e-3)))
    pairs = [
        (leaf.nbytes, [shard.data.nbytes for shard in leaf.addressable_shards])
        for leaf in jax.tree.leaves((state.params, state.opt_state))
        if leaf.size >= 1024
    ]
    assert len(pairs) == 6  # two kernels, and Adam's two moments of each
    for whole, shards in pairs:
        assert shards == [whole / fsdp] * 8
    held = [
        sum(leaf.addressable_shards[i].data.nbytes for leaf in jax.tree.leaves(state))
        for i in (0, 7)
    ]
    assert held == [layout.bytes_per_device(state)] * 2


def test_a_cut_state_comes_back_whole():
    layout = choose("mesh", jax.devices(), fsdp=8)
    state = initial_state(small_task(layout, width=512), optax.sgd(0.1))
    placed = layout.place(state)
    for one, other in zip(jax.tree.leaves(placed), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert on(1).bytes_per_device(state) == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
