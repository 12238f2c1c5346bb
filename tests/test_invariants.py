"""The invariants that every task, model and layout keeps. See docs and architecture."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import AUGMENT, initial_state, on, small_task, some_images, train_small

from imgrec_jax.build.batches import one_pass
from imgrec_jax.core.context import Context
from imgrec_jax.core.rng import example_keys
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.step.compiled_steps import EvalProgram, TrainProgram
from imgrec_jax.training.step.parallel import choose
from imgrec_jax.training.step.sharding import parse_rules

TINY_STEP = 1e-30  # what relative difference is measured against where a value is zero


def assert_close(a, b, tolerance):
    """Compare trees leaf by leaf, relative to the largest value of the leaf."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
    for (path, one), other in pairs:
        expected = np.asarray(other, np.float64)
        largest = np.abs(np.asarray(one, np.float64) - expected).max()
        difference = largest / max(np.abs(expected).max(), TINY_STEP)
        assert difference <= tolerance, f"{jax.tree_util.keystr(path)} differs by {difference:.2e}"


# 19 examples in batches of 16: the second batch of an epoch holds 3 valid rows, so with 8
# devices six of them hold none.
UNEVEN = {
    "batch_size": 16,
    "steps": 3,
    "batch_norm": True,
    "augment": AUGMENT,
    "mixing": True,
}


@functools.cache
def on_one_device(width=4):
    state, sums, _ = train_small(some_images(19), devices=1, width=width, **UNEVEN)
    return state, sums


@pytest.mark.parametrize(
    ("mode", "devices"),
    [
        ("pmap", 4),
        ("pmap", 8),
        ("shard_map", 8),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("pmap", 2), ("shard_map", 2), ("shard_map", 4))
        ),
    ],
)
def test_devices_give_the_same_training(mode, devices):
    """Fails as well where a gradient is added up twice: eight-fold, it leads elsewhere."""
    expected, expected_sums = on_one_device()
    layout = choose(mode, jax.devices()[:devices])
    state, sums, _ = train_small(some_images(19), layout=layout, **UNEVEN)
    assert_close((state.params, state.model_state), (expected.params, expected.model_state), 1e-5)
    for one, other in zip(sums, expected_sums, strict=True):
        assert one["correct"] == other["correct"]
        assert one["examples"] == other["examples"]


@pytest.mark.parametrize(
    ("data", "fsdp"), [pytest.param(8, 1, marks=pytest.mark.slow), (4, 2), (1, 8)]
)
def test_a_mesh_gives_the_same_training(data, fsdp):
    expected, expected_sums = on_one_device(width=8)
    layout = choose("mesh", jax.devices(), fsdp=fsdp, rules=parse_rules("Conv_0/kernel=-1"))
    state, sums, _ = train_small(some_images(19), layout=layout, width=8, **UNEVEN)
    assert layout.mesh.devices.shape == (data, fsdp)
    assert_close((state.params, state.model_state), (expected.params, expected.model_state), 1e-5)
    assert [int(s["correct"]) for s in sums] == [int(s["correct"]) for s in expected_sums]


@pytest.mark.slow
def test_micro_batches_with_batch_norm_agree_on_a_mesh():
    one, _, _ = train_small(some_images(19), micro_batches=2, devices=1, **UNEVEN)
    layout = choose("mesh", jax.devices()[:4], fsdp=2)
    mesh, _, _ = train_small(some_images(19), micro_batches=2, layout=layout, **UNEVEN)
    assert_close((mesh.params, mesh.model_state), (one.params, one.model_state), 1e-5)


def test_training_moves_every_parameter_and_statistic():
    """The comparison above would hold between two layouts that do nothing."""
    expected, sums = on_one_device()
    first, _, _ = train_small(
        some_images(19), steps=0, **{k: v for k, v in UNEVEN.items() if k != "steps"}
    )
    for new, old in zip(jax.tree.leaves(expected), jax.tree.leaves(first), strict=True):
        assert not np.array_equal(new, old)
    assert [int(s["examples"]) for s in sums] == [16, 3, 16]


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_give_the_same_training(parts):
    settings = {"batch_size": 16, "augment": AUGMENT}
    whole, whole_sums, _ = train_small(some_images(19), **settings)
    state, sums, _ = train_small(some_images(19), micro_batches=parts, **settings)
    assert_close(state.params, whole.params, 1e-6)
    assert [int(s["correct"]) for s in sums] == [int(s["correct"]) for s in whole_sums]


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
def test_micro_batches_with_batch_norm_agree_across_devices(mode):
    one, _, _ = train_small(some_images(19), micro_batches=2, devices=1, **UNEVEN)
    layout = choose(mode, jax.devices()[:4])
    four, _, _ = train_small(some_images(19), micro_batches=2, layout=layout, **UNEVEN)
    assert_close((one.params, one.model_state), (four.params, four.model_state), 1e-5)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_padding_changes_nothing(batch_norm):
    """12 examples as one full batch of 12, and as a batch of 16 with 4 rows of padding."""
    full, _, _ = train_small(some_images(12), batch_size=12, steps=1, batch_norm=batch_norm)
    padded, _, _ = train_small(some_images(12), batch_size=16, steps=1, batch_norm=batch_norm)
    assert_close((padded.params, padded.model_state), (full.params, full.model_state), 1e-6)


def test_a_batch_of_padding_alone_changes_nothing():
    layout = on(1)
    task = small_task(layout, batch_norm=True)
    source = some_images(4)
    batch = {
        "image": source.images,
        "label": jnp.asarray(source.labels),
        "mask": jnp.zeros(4, bool),
    }
    params, model_state = task.init(jax.random.key(0), batch)

    def loss(params):
        output = task.loss(
            params, model_state, batch, Context(jax.random.key(1), task.count(batch))
        )
        return output.loss, output

    gradient, output = jax.grad(loss, has_aux=True)(params)
    assert all((g == 0).all() for g in jax.tree.leaves(gradient))
    assert jax.tree.all(jax.tree.map(np.array_equal, output.model_state, model_state))


@pytest.mark.parametrize("mode", ["single", "pmap", "shard_map", "mesh"])
def test_the_second_call_does_not_compile_again(mode):
    """Traced once; and compiled once, which arrays that lie elsewhere could undo."""
    layout = choose(mode, jax.devices()[:4], fsdp=2 if mode == "mesh" else 1)
    counts = []
    for steps in (1, 2, 9):
        with compilations() as events:
            _, _, program = train_small(
                some_images(64), batch_size=16, steps=steps, layout=layout, batch_norm=True
            )
        assert program.traces == 1
        counts.append(len(events))
    assert counts[2] == counts[1] > 0


@pytest.mark.parametrize("mode", ["single", "pmap", "shard_map", "mesh"])
def test_a_step_takes_over_the_memory_of_its_state(mode):
    """Donated memory is used again only where the state lies as the program wants it."""
    layout = choose(mode, jax.devices()[:4], fsdp=2 if mode == "mesh" else 1)
    task, optimizer = small_task(layout, batch_norm=True), optax.sgd(0.1, momentum=0.9)
    program = TrainProgram(task, optimizer, layout)
    batch, root = TrainBatches(some_images(16), 16, seed=1)(0), layout.replicate(jax.random.key(7))
    first = layout.place(initial_state(task, optimizer))
    second, _ = program(first, batch, root)
    program(second, batch, root)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((first, second)))
    assert not root.is_deleted()


@contextlib.contextmanager
def compilations():
    """Give the list of programs that are compiled from here on."""
    events = []

    def on_event(name, seconds, **about):
        del seconds, about
        if name == "/jax/core/compile/backend_compile_duration":
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(on_event)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_duration_listener(on_event)


@pytest.mark.parametrize(
    ("mode", "resident"),
    [
        ("single", False),
        ("single", True),
        ("shard_map", True),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("pmap", False), ("pmap", True), ("shard_map", False))
        ),
    ],
)
def test_steps_in_one_call_equal_single_steps(mode, resident):
    settings = {
        "batch_size": 16,
        "steps": 6,
        "batch_norm": True,
        "augment": AUGMENT,
        "mixing": True,
    }
    single, single_sums, _ = train_small(some_images(48), **settings)
    layout = choose(mode, jax.devices()[:4])
    rolled, rolled_sums, program = train_small(
        some_images(48), steps_per_call=3, resident=resident, layout=layout, **settings
    )
    assert_close((rolled.params, rolled.model_state), (single.params, single.model_state), 1e-5)
    assert program.traces == 1
    assert sum(int(s["correct"]) for s in rolled_sums) == sum(
        int(s["correct"]) for s in single_sums
    )


@pytest.mark.parametrize(
    "layout",
    [
        on(2),
        on(4),
        on(8),
        choose("shard_map", jax.devices()),
        choose("mesh", jax.devices(), fsdp=2),
    ],
)
def test_evaluation_counts_to_the_last_digit(layout):
    """101 examples divide by none of the device counts."""
    results = []
    for devices in (on(1), layout):
        task = small_task(devices)
        source = some_images(101)
        params, model_state = task.init(jax.random.key(0), {"image": source.images[:1]})
        program = EvalProgram(task, devices)
        placed = devices.place((params, model_state))
        result = evaluate(program, task.compute_metrics, *placed, one_pass(source, 32, devices))
        results.append(result)
    one, many = results
    assert int(one.sums["examples"]) == 101
    assert one.sums["confusion"].sum() == 101
    for name in ("examples", "correct", "top5_correct", "confusion"):
        np.testing.assert_array_equal(many.sums[name], one.sums[name])
    np.testing.assert_array_equal(many.rows["label"], some_images(101).labels)
    np.testing.assert_array_equal(many.rows["prediction"], one.rows["prediction"])


def test_an_epoch_visits_each_example_once():
    batches = TrainBatches(some_images(50), 8, seed=3)
    assert batches.steps_per_epoch == 7
    for epoch in range(2):
        batch = batches(7 * epoch, 7)
        seen = batch["index"][batch["mask"]]
        assert sorted(seen) == list(range(50))
        assert (batch["epoch"] == epoch).all()
    first, second = batches(0)["index"], batches(7)["index"]
    assert not np.array_equal(first, second)


def test_batches_are_a_function_of_seed_and_step():
    source = some_images(50)
    walked = [TrainBatches(source, 8, seed=3)(step) for step in range(12)]
    jumped = TrainBatches(source, 8, seed=3)(11)
    for name, value in jumped.items():
        np.testing.assert_array_equal(value, walked[11][name])
    other = TrainBatches(source, 8, seed=4)(11)
    assert not np.array_equal(other["index"], jumped["index"])


def test_an_image_depends_on_seed_epoch_and_index_alone():
    images = some_images(8).images.astype(np.float32) / 255.0
    root = jax.random.key(5)

    def augmented(rows, epoch):
        rows = np.asarray(rows, np.int32)
        keys = example_keys(root, np.full(len(rows), epoch, np.int32), rows)
        return np.asarray(AUGMENT(keys, {"image": images[rows]})["image"])

    whole = augmented(range(8), epoch=2)
    np.testing.assert_array_equal(augmented([5, 3], epoch=2), whole[[5, 3]])
    assert not np.array_equal(augmented(range(8), epoch=3), whole)


def test_one_sgd_step_is_the_gradient_of_the_mean():
    """Against JAX's own gradient of a loss written out by hand."""
    source = some_images(5)
    layout = on(1)
    task = small_task(layout)
    state, _, _ = train_small(source, batch_size=8, steps=1, optimizer=optax.sgd(0.1))
    first, _, _ = train_small(source, batch_size=8, steps=0)

    def mean_loss(params):
        logits = task.predict(params, {}, {"image": source.images})
        return -jax.nn.log_softmax(logits)[np.arange(5), source.labels].mean()

    gradient = jax.grad(mean_loss)(first.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, first.params, gradient)
    assert_close(state.params, expected, 1e-5)
