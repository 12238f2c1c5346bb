"""Mixup and CutMix: the mixtures, their labels, and the same training on any devices."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from small import CLASSES, SmallNet, initial_state, on, some_images

from imgrec_jax.build.preprocessing import MIXINGS
from imgrec_jax.core.context import Context
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.tasks.classification.task import classify
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.tasks.wrappers.mixup import cutmix, mix_images, mixup
from imgrec_jax.training.step import compiled_steps, parallel

KEYS = jax.random.split(jax.random.key(0), 4000)
WHITE, BLACK = np.ones((4000, 6, 8, 1), np.float32), np.zeros((4000, 6, 8, 1), np.float32)


class Scores(nn.Module):
    """A network whose logits are its images, times a parameter that starts at 1."""

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        return x.reshape(len(x), -1) * self.param("scale", nn.initializers.ones, ())


def mixed(mixing, images=WHITE, partners=BLACK):
    """Return mixed images and weights as numpy; of white and black a pixel is its weight."""
    return jax.device_get(jax.jit(jax.vmap(mixing))(KEYS, images, partners))


def test_every_mixing_is_tested_here():
    assert set(MIXINGS) == {"cutmix", "mixup"}


@pytest.mark.parametrize("mixing", [mixup(0.0), cutmix(0.0)])
def test_zero_strength_changes_nothing(mixing):
    images = np.random.default_rng(0).random(WHITE.shape, np.float32)
    out, weight = mixed(mixing, images)
    np.testing.assert_array_equal(out, images)
    np.testing.assert_array_equal(weight, np.ones(4000))


def test_mixup_blends_with_weights_from_beta():
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)): 0.1786 for 0.2."""
    out, weight = mixed(mixup(0.2))
    np.testing.assert_array_equal(out, np.broadcast_to(weight[:, None, None, None], out.shape))
    assert weight.mean() == pytest.approx(0.5, abs=0.03)
    assert weight.var() == pytest.approx(0.1786, abs=0.01)
    flat = mixed(mixup(1.0))[1]
    np.testing.assert_allclose(np.histogram(flat, 4, (0, 1))[0], 1000, atol=120)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_have_the_quantiles_of_beta(alpha):
    keys, dot = jax.random.split(jax.random.key(0), 100_000), jnp.zeros((100_000, 1, 1, 1))
    drawn = np.asarray(jax.jit(jax.vmap(mixup(alpha)))(keys, dot, dot)[1], np.float64)
    # Which half is a coin; within the lower, where float32 is fine, ranks are those of Beta.
    lower = np.sort(drawn[drawn < 0.5])
    assert len(lower) == pytest.approx(50_000, abs=500)
    ranks = 2.0 * scipy.special.betainc(alpha, alpha, lower)
    expected = (np.arange(len(lower)) + 0.5) / len(lower)
    assert np.abs(ranks - expected).max() < 1.95 / math.sqrt(len(lower))  # 999 of 1,000 times
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0


def test_cutmix_puts_one_window_of_the_partner_in_its_place():
    out, weight = mixed(cutmix())
    assert set(np.unique(out)) == {0.0, 1.0}
    np.testing.assert_allclose(out.mean((1, 2, 3)), weight, atol=1e-6)
    for image in out[:50, ..., 0]:
        rows, columns = np.nonzero(image == 0.0)
        if len(rows):
            assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_the_areas_of_cutmix_follow_the_papers_loop():
    generator = np.random.default_rng(0)
    expected = []
    for _ in range(4000):
        side = np.sqrt(1 - generator.beta(1.0, 1.0))
        low, high = [], []
        for size in (6, 8):
            half, centre = int(size * side) // 2, generator.integers(size)
            low.append(np.clip(centre - half, 0, size))
            high.append(np.clip(centre + half, 0, size))
        expected.append(1 - (high[0] - low[0]) * (high[1] - low[1]) / 48)
    weight = mixed(cutmix())[1]
    bins = np.linspace(0, 1.0001, 9)
    ours, theirs = np.histogram(weight, bins)[0], np.histogram(expected, bins)[0]
    assert (np.abs(ours - theirs) < 5 * np.sqrt(2 * np.maximum(theirs, 10))).all()
    assert weight.mean() == pytest.approx(np.mean(expected), abs=0.02)


ROWS = 400


@functools.cache
def mixed_loss(*mixings):
    """Return the loss of mixed rows, its sums, and the batch that the inner loss sees.

    Rows are of class 0 with image (1, 0), their partners of class 1 with image (0, 1), so
    that a mixed image is (w, 1 - w). The last row is padding.
    """
    task = classify(Scores(), num_classes=2)

    def loss(params, model_state, batch, context):
        return task.loss(params, model_state, batch, context), batch

    own = np.tile(np.float32([1, 0]), (ROWS, 1, 1, 1))
    batch = {
        "image": own,
        "partner_image": own[..., ::-1],
        "label": np.zeros(ROWS, np.int32),
        "partner_label": np.ones(ROWS, np.int32),
        "mask": np.arange(ROWS) < ROWS - 1,
        "keys": KEYS[:ROWS],
    }
    mixing = mix_images(dataclasses.replace(task, loss=loss), mixings)
    params, counts = {"scale": jnp.float32(1.0)}, {"examples": jnp.float32(2 * ROWS)}

    @jax.jit
    def mixed(params, batch, counts):
        return mixing.loss(params, {}, batch, Context(KEYS[0], counts))

    output, seen = jax.device_get(mixed(params, batch, counts))
    return output, {**seen, "image": seen["image"].reshape(ROWS, 2)}


BLENDED = mixup(1.0)


def test_the_loss_is_that_of_both_labels_in_proportion():
    output, seen = mixed_loss(BLENDED)
    image = seen["image"]
    log_p = image - np.log(np.exp(image).sum(1, keepdims=True))
    total = -(image * log_p).sum(1)[:-1].sum()
    np.testing.assert_allclose(output.loss, total / (2 * ROWS), rtol=1e-5)
    np.testing.assert_allclose(output.metric_sums["loss"], total, rtol=1e-5)


def test_the_label_is_that_of_the_larger_part():
    output, seen = mixed_loss(BLENDED)
    np.testing.assert_array_equal(seen["label"], seen["image"].argmax(1))
    np.testing.assert_array_equal(seen["partner_label"], seen["image"].argmin(1))
    np.testing.assert_allclose(seen["label_weight"], seen["image"].max(1), rtol=1e-6)
    assert set(seen["label"].tolist()) == {0, 1}
    assert int(output.metric_sums["correct"]) == ROWS - 1


def test_of_several_mixings_each_row_draws_one():
    """Images of one pixel are never cut: half the window rounds to nothing."""
    _, seen = mixed_loss(BLENDED, cutmix(1.0))
    uncut = (seen["image"] == [1.0, 0.0]).all(1).mean()
    assert uncut == pytest.approx(0.5, abs=0.08)


def test_predictions_are_of_plain_images():
    task = classify(Scores(), num_classes=2)
    mixing = mix_images(task, [mixup()])
    assert mixing.predict is task.predict
    assert mixing.count is task.count


def train(layout, micro_batches=1, **net):
    """Return parameters and sums after 3 steps of mixed training; the second holds 3 rows."""

    def unit(batch):
        names = [name for name in ("image", "partner_image") if name in batch]
        return {**batch, **{name: batch[name].astype(jnp.float32) / 255.0 for name in names}}

    task = classify(SmallNet(layout.norm_axis, **net), num_classes=CLASSES, label_smoothing=0.1)
    task = mix_images(task, [mixup(0.4), cutmix(1.0)])
    task = transform_inputs(task, training=unit, scoring=unit)
    optimizer = optax.sgd(0.5)
    batches = TrainBatches(some_images(19), 16, seed=1, partners=True)
    program = compiled_steps.TrainProgram(task, optimizer, layout, micro_batches=micro_batches)
    state = layout.place(jax.jit(functools.partial(initial_state, task, optimizer))())
    root = layout.replicate(jax.random.key(7))
    sums = []
    for step in range(3):
        state, more = program(state, batches(step), root)
        sums.append(parallel.fetch(more))
    return parallel.fetch((state.params, state.model_state)), sums


@functools.cache
def on_one_device():
    return train(on(1), batch_norm=True)


def assert_same(result, expected):
    for one, other in zip(jax.tree.leaves(result[0]), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())
    for one, other in zip(result[1], expected[1], strict=True):
        assert one["correct"] == other["correct"]
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)


@pytest.mark.parametrize("layout", [on(8), parallel.choose("mesh", jax.devices()[:4], fsdp=2)])
def test_mixed_training_is_the_same_on_any_devices(layout):
    assert_same(train(layout, batch_norm=True), on_one_device())


def test_mixed_training_is_the_same_in_micro_batches():
    assert_same(train(on(2), micro_batches=2), train(on(1)))


def test_mixed_batches_are_padded_and_counted_like_others():
    _, sums = on_one_device()
    assert [int(s["examples"]) for s in sums] == [16, 3, 16]
