"""Losses weighted by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.tasks.class_weights import read_class_weights
from imgrec_jax.tasks.classification.task import classify

KEY = jax.random.key(0)


class Pixels:
    """A module whose logits are its images."""

    def apply(self, variables, x, *, train, mask=None, rngs=None, mutable=()):
        logits = x.reshape(len(x), -1) * variables["params"]
        return (logits, {}) if train else logits


def batch(labels, mask):
    """Rows whose loss is log 2 for either class."""
    return {
        "image": jnp.zeros((len(labels), 1, 1, 2)),
        "label": jnp.asarray(labels, jnp.int32),
        "mask": jnp.asarray(mask, bool),
    }


def test_a_weighted_loss_by_hand():
    """Weights 1, 3, 3 of three valid rows with losses log 2, log 2 and log(1 + e^2)."""
    task = classify(Pixels(), num_classes=2, class_weights=(1.0, 3.0))
    rows = batch([0, 1, 1, 1], [1, 1, 1, 0])
    rows["image"] = rows["image"].at[2, 0, 0, 0].set(2.0)
    counts = task.count(rows)
    assert float(counts["weight"]) == 7.0
    output = task.loss(jnp.float32(1.0), {}, rows, Context(KEY, counts))
    expected = (4 * np.log(2) + 3 * np.log(1 + np.exp(2))) / 7
    np.testing.assert_allclose(output.loss, expected, rtol=1e-6)
    # What is measured is not weighted.
    np.testing.assert_allclose(
        output.metric_sums["loss"], 2 * np.log(2) + np.log(1 + np.exp(2)), rtol=1e-6
    )


def test_equal_weights_are_no_weights():
    rows = batch([0, 1, 1, 1], [1, 1, 1, 0])
    rows["image"] = jax.random.normal(KEY, (4, 1, 1, 2))
    losses = []
    for weights in ((), (5.0, 5.0)):
        task = classify(Pixels(), num_classes=2, label_smoothing=0.1, class_weights=weights)
        losses.append(task.loss(jnp.float32(1.0), {}, rows, Context(KEY, task.count(rows))).loss)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


def test_shards_with_weights_add_up():
    task = classify(Pixels(), num_classes=2, class_weights=(1.0, 3.0))
    rows = batch([0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 1])
    rows["image"] = jax.random.normal(KEY, (6, 1, 1, 2))
    counts = task.count(rows)
    whole = task.loss(jnp.float32(1.0), {}, rows, Context(KEY, counts)).loss
    shards = [{name: value[i : i + 3] for name, value in rows.items()} for i in (0, 3)]
    parts = [task.loss(jnp.float32(1.0), {}, shard, Context(KEY, counts)).loss for shard in shards]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)
    added = sum(float(task.count(shard)["weight"]) for shard in shards)
    assert added == float(counts["weight"]) == 9.0


def test_weights_of_padding_alone_give_no_loss():
    task = classify(Pixels(), num_classes=2, class_weights=(1.0, 3.0))
    rows = batch([0, 1], [0, 0])
    gradient = jax.grad(lambda p: task.loss(p, {}, rows, Context(KEY, task.count(rows))).loss)
    assert float(gradient(jnp.float32(1.0))) == 0.0


def test_each_part_of_a_mixture_has_the_weight_of_its_own_class():
    task = classify(Pixels(), num_classes=2, class_weights=(1.0, 3.0))
    rows = batch([0], [1]) | {
        "partner_label": jnp.array([1]),
        "label_weight": jnp.array([0.75], jnp.float32),
    }
    output = task.loss(jnp.float32(1.0), {}, rows, Context(KEY, task.count(rows)))
    np.testing.assert_allclose(output.loss, (0.75 + 0.25 * 3) * np.log(2), rtol=1e-6)


def test_balanced_weights_by_hand():
    """8 images, 6 and 2 of two classes, none of the third: 8 / (2 * 6) and 8 / (2 * 2)."""
    weights = read_class_weights("balanced", [6, 2, 0])
    np.testing.assert_allclose(weights, [2 / 3, 2.0, 0.0])
    assert weights[0] * 6 == weights[1] * 2 == 4.0


def test_weights_are_read():
    assert read_class_weights("", [1, 1]) == ()
    assert read_class_weights("0.5,1, 2", [1, 1, 1]) == (0.5, 1.0, 2.0)
    assert read_class_weights("(1, 2)", [1, 1]) == (1.0, 2.0)


@pytest.mark.parametrize("text", ["1,2", "1,2,x", "1,2,-1", "0,0,0", "1,nan,1", "balance"])
def test_weights_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError, match=r"3 numbers, not all 0, each .*, got .* try"):
        read_class_weights(text, [1, 1, 1])


def test_each_smoothed_class_has_its_own_weight():
    """-Σ weight · target · log p / weight of the label, as torch.nn.CrossEntropyLoss has it."""
    task = classify(Pixels(), num_classes=2, label_smoothing=0.2, class_weights=(1.0, 3.0))
    rows = batch([0], [1])
    rows["image"] = rows["image"].at[0, 0, 0, 0].set(2.0)
    log_p = np.array([2.0, 0.0]) - np.log(1 + np.exp(2.0))
    expected = -(1.0 * 0.9 * log_p[0] + 3.0 * 0.1 * log_p[1]) / 1.0
    found = task.loss(jnp.float32(1.0), {}, rows, Context(KEY, task.count(rows)))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-6)
