import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.context import Context
from imgrec_jax.ops.losses import softmax_cross_entropy
from imgrec_jax.tasks.classification.report import report
from imgrec_jax.tasks.classification.task import classify, compute_metrics


class Scores(nn.Module):
    """A network whose logits are its images, times a parameter that starts at 1."""

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        return x.reshape(len(x), -1) * self.param("scale", nn.initializers.ones, ())


def batch(logits, labels, mask):
    logits = np.asarray(logits, np.float32)
    return {
        "image": jnp.asarray(logits[:, None, None, :]),
        "label": jnp.asarray(labels, jnp.int32),
        "mask": jnp.asarray(mask, bool),
    }


def test_cross_entropy_by_hand():
    """-log softmax([0, log 3])[1] = -log(3/4)."""
    loss = softmax_cross_entropy(jnp.array([[0.0, np.log(3.0)]]), jnp.array([1]))
    np.testing.assert_allclose(loss, [-np.log(0.75)], rtol=1e-6)


def test_label_smoothing_by_hand():
    """Smoothing 0.2 over 2 classes: 0.9 of the true class's loss, 0.1 of the other's."""
    loss = softmax_cross_entropy(jnp.array([[0.0, np.log(3.0)]]), jnp.array([1]), 0.2)
    np.testing.assert_allclose(loss, [-0.9 * np.log(0.75) - 0.1 * np.log(0.25)], rtol=1e-6)


def test_sums_leave_padding_out():
    task = classify(Scores(), num_classes=3)
    rows = batch([[2, 1, 0], [2, 1, 0], [0, 0, 9], [5, 5, 5]], [0, 1, 2, 0], [1, 1, 1, 0])
    logits = task.predict({"scale": 1.0}, {}, rows)
    sums = task.metric_sums(logits, rows)
    assert int(sums["examples"]) == 3
    assert int(sums["correct"]) == 2
    assert int(sums["top5_correct"]) == 3
    np.testing.assert_array_equal(sums["confusion"], [[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert sums["correct"].dtype == sums["confusion"].dtype == jnp.int32


def test_top5_of_seven_classes():
    task = classify(Scores(), num_classes=7)
    falling = [[7, 6, 5, 4, 3, 2, 1]] * 3
    sums = task.metric_sums(jnp.asarray(falling, jnp.float32), batch(falling, [0, 4, 5], [1, 1, 1]))
    assert int(sums["correct"]) == 1
    assert int(sums["top5_correct"]) == 2


def test_ties_go_to_the_class_of_lower_number():
    task = classify(Scores(), num_classes=2)
    tied = jnp.zeros((2, 2))
    sums = task.metric_sums(tied, batch(tied, [0, 1], [1, 1]))
    assert int(sums["correct"]) == 1
    np.testing.assert_array_equal(sums["confusion"], [[1, 0], [1, 0]])


def test_nan_logits_are_never_correct():
    task = classify(Scores(), num_classes=2)
    broken = jnp.full((2, 2), jnp.nan)
    sums = task.metric_sums(broken, batch(broken, [0, 1], [1, 1]))
    assert int(sums["correct"]) == 0
    assert int(sums["examples"]) == 2


def test_the_loss_is_divided_by_the_global_count():
    """A shard with 2 of 8 examples contributes a quarter of its mean."""
    task = classify(Scores(), num_classes=2)
    rows = batch([[0, 0], [0, 0], [0, 0]], [0, 1, 0], [1, 1, 0])
    counts = {"examples": jnp.float32(8)}
    output = task.loss({"scale": jnp.float32(1)}, {}, rows, Context(jax.random.key(0), counts))
    np.testing.assert_allclose(output.loss, 2 * np.log(2) / 8, rtol=1e-6)
    assert float(task.count(rows)["examples"]) == 2.0


def test_scores_are_quotients_of_sums():
    scores = compute_metrics({"examples": 8, "correct": 6, "top5_correct": 8, "loss": 4.0}, {})
    assert scores == {"loss": 0.5, "accuracy": 0.75, "top5_accuracy": 1.0}


def test_no_examples_have_no_score():
    empty = {"examples": 0, "correct": 0, "top5_correct": 0, "loss": 0.0}
    assert all(np.isnan(score) for score in compute_metrics(empty, {}).values())


def test_rows_name_prediction_and_confidence():
    task = classify(Scores(), num_classes=2)
    logits = jnp.array([[0.0, np.log(3.0)]])
    rows = task.rows(logits, batch(logits, [0], [1]))
    assert int(rows["prediction"][0]) == 1
    assert int(rows["label"][0]) == 0
    assert float(rows["confidence"][0]) == pytest.approx(0.75)


def test_nan_is_wrong_in_sums_rows_and_report_alike():
    """A NaN of any class, and one of the true class, which argmax takes for the largest logit."""
    nan = jnp.nan
    logits = jnp.array([[nan, 0.0, 1.0], [0.0, nan, 1.0], [5.0, 0.0, 0.0], [nan, nan, nan]])
    batch = {"label": jnp.array([0, 2, 0, 2]), "mask": jnp.ones(4, bool)}
    task = classify(Scores(), num_classes=3)
    sums, rows = task.metric_sums(logits, batch), task.rows(logits, batch)
    assert (int(sums["correct"]), int(sums["top5_correct"])) == (1, 1)
    assert sums["confusion"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert rows["prediction"].tolist() == [-1, -1, 0, -1]
    found = report(jax.tree.map(np.asarray, rows), "abc")
    assert (found["accuracy"], found["correct"], found["n"]) == (0.25, 1, 4)
    assert found["confusion"] == sums["confusion"].tolist()
    assert [c["n"] for c in found["classes"]] == [2, 0, 2]
    assert [c["recall"] for c in found["classes"]] == [0.5, None, 0.0]
    assert np.isfinite(found["calibration_error"])
