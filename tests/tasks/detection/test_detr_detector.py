"""Detection as a set, with a network that always says the same."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.tasks.detection.task import detect

# Two layers of a decoder, three queries, two labels and nothing.
LOGITS = np.array(
    [
        [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]],
        [[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]],
    ],
    np.float32,
)
# Centre, width and height in parts of the image; after the second layer query 1 has moved.
BOXES = np.array(
    [
        [[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.25, 0.5], [0.75, 0.75, 0.5, 0.5]],
        [[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]],
    ],
    np.float32,
)


class FixedOutputs(nn.Module):
    """A network that says `LOGITS` and `BOXES` of every image."""

    queries = 3

    @nn.compact
    def __call__(self, images, *, train=False, mask=None):
        del train, mask
        logits = self.param("logits", lambda key: jnp.asarray(LOGITS))
        boxes = self.param("boxes", lambda key: jnp.asarray(BOXES))
        n = len(images)
        return {
            "logits": jnp.tile(logits[None], (n, 1, 1, 1)),
            "boxes": jnp.tile(boxes[None], (n, 1, 1, 1)),
        }


def batch(valid=(0,), **changes):
    """Return three images 32 wide and 16 high, each with one box of label 1, its middle half.

    Those of `valid` count, the others are padding.
    """
    made = {
        "image": jnp.zeros((3, 16, 32, 3)),
        "boxes": jnp.tile(jnp.array([[[8.0, 4.0, 24.0, 12.0], [0.0, 0.0, 0.0, 0.0]]]), (3, 1, 1)),
        "box_label": jnp.tile(jnp.array([[1, 0]], jnp.int32), (3, 1)),
        "box_mask": jnp.tile(jnp.array([[True, False]]), (3, 1)),
        "box_ignore": jnp.zeros((3, 2), bool),
        "mask": jnp.isin(jnp.arange(3), jnp.asarray(valid, jnp.int32)),
    }
    return {**made, **changes}


TASK = detect(FixedOutputs(), num_classes=2)
NO_BOX = {"box_mask": jnp.zeros((3, 2), bool)}
PARAMS = {"logits": jnp.asarray(LOGITS), "boxes": jnp.asarray(BOXES)}


@jax.jit
def _learn(params, data, counts):
    def loss(params):
        output = TASK.loss(params, {}, data, Context(jax.random.key(1), counts))
        return output.loss, output

    gradient, output = jax.grad(loss, has_aux=True)(params)
    return output, gradient


def learn(data, *, params=PARAMS, counts=None):
    """Return what the loss gives, and its gradient: one program for all tests."""
    return _learn(params, data, TASK.count(data) if counts is None else counts)


def class_loss(labels):
    """Return the weighted cross-entropy of both layers, whose queries are to say `labels`."""
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    weight = np.where(np.array(labels) == 2, 0.1, 1.0)
    return -sum((weight * layer[np.arange(3), labels]).sum() for layer in log_p)


def test_the_loss_by_hand():
    """Query 1 is the nearest in both layers: half as wide as the box, and then the box itself."""
    output, _ = learn(batch())
    expected = {"class_loss": class_loss([2, 1, 2]), "l1_loss": 0.25, "giou_loss": 0.5}
    for name, value in expected.items():
        np.testing.assert_allclose(output.metric_sums[name], value, rtol=1e-5, err_msg=name)
    assert output.metric_sums["boxes"] == output.metric_sums["examples"] == 1
    total = class_loss([2, 1, 2]) / 1.2 + 5 * 0.25 + 2 * 0.5
    np.testing.assert_allclose(output.loss, total, rtol=1e-5)


def test_labels_decide_between_queries_that_say_one_box():
    """Two equal boxes: of the first two queries, p(0) is larger in query 0, p(1) in query 1."""
    both = {"box_mask": ~NO_BOX["box_mask"], "box_label": jnp.tile(jnp.array([[1, 0]]), (3, 1))}
    data = batch(boxes=jnp.tile(jnp.array([8.0, 4.0, 24.0, 12.0]), (3, 2, 1)), **both)
    same = {**PARAMS, "boxes": jnp.tile(jnp.array([0.5, 0.5, 0.5, 0.5]), (2, 3, 1))}
    output, _ = learn(data, params=same)
    np.testing.assert_allclose(output.metric_sums["class_loss"], class_loss([0, 1, 2]), rtol=1e-5)
    assert output.metric_sums["l1_loss"] == 0
    # Of the queries as they are, query 1 can have but one of the boxes; 0 and 2 are 0.5 away.
    output, _ = learn(data)
    np.testing.assert_allclose(output.metric_sums["l1_loss"], 0.25 + 0.5 + 0.0 + 0.5, rtol=1e-5)


def test_counts_need_no_parameters():
    assert TASK.count(batch()) == {"boxes": 1, "class_weight": pytest.approx(1.2)}
    assert TASK.count(batch([0, 2])) == {"boxes": 2, "class_weight": pytest.approx(2.4)}
    ignored = TASK.count(batch(box_ignore=~NO_BOX["box_mask"]))
    assert ignored == {"boxes": 0, "class_weight": pytest.approx(0.3)}


def test_the_shares_of_shards_add_up():
    """Three images, one of them without boxes, at once and as shards of one and two."""
    boxes = {"box_mask": jnp.array([[True, False], [False, False], [True, False]])}
    whole = batch([0, 1, 2], **boxes)
    counts = TASK.count(whole)
    assert counts == {"boxes": 2, "class_weight": pytest.approx(2.7)}
    parts = [learn(batch(rows, **boxes), counts=counts) for rows in ([0], [1, 2])]
    together, gradient = learn(whole)
    np.testing.assert_allclose(sum(part.loss for part, _ in parts), together.loss, rtol=1e-6)
    added = jax.tree.map(jnp.add, parts[0][1], parts[1][1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), added, gradient)
    # By hand, the box of the first layer is off in two images of two with a box.
    total = (2 * class_loss([2, 1, 2]) + class_loss([2, 2, 2])) / 2.7 + 5 * 0.25 + 2 * 0.5
    np.testing.assert_allclose(together.loss, total, rtol=1e-5)


@pytest.mark.parametrize("changes", [NO_BOX, {"box_ignore": ~NO_BOX["box_mask"]}])
def test_without_boxes_all_queries_are_to_say_nothing(changes):
    output, gradient = learn(batch(**changes))
    assert output.metric_sums["l1_loss"] == output.metric_sums["giou_loss"] == 0
    np.testing.assert_allclose(output.loss, class_loss([2, 2, 2]) / 0.3, rtol=1e-5)
    assert (gradient["boxes"] == 0).all()


def test_a_batch_of_padding_alone_has_no_gradient():
    output, gradient = learn(batch([]))
    assert output.loss == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_predictions_by_hand():
    """The last layer speaks, in pixels and the best query first; what is unlikely is left out."""
    images = {"image": jnp.zeros((1, 16, 32, 3))}
    outputs = TASK.predict(PARAMS, {}, images)
    assert outputs["boxes"].tolist() == [[[8, 4, 24, 12], [0, 0, 16, 8], [16, 8, 32, 16]]]
    assert outputs["labels"].tolist() == [[1, 0, 0]]
    p = np.exp(LOGITS[1]) / np.exp(LOGITS[1]).sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs["scores"], [[p[1, 1], p[0, 0], p[2, 0]]], rtol=1e-5)
    picky = detect(FixedOutputs(), num_classes=2, detections=2, min_score=0.6)
    outputs = picky.predict(PARAMS, {}, images)
    assert (outputs["scores"] > 0).tolist() == [[True, False]]
    assert outputs["boxes"].tolist() == [[[8, 4, 24, 12], [0, 0, 0, 0]]]


def test_more_boxes_than_queries_are_told():
    with pytest.raises(UsageError, match=r"data.max_boxes=4, got 3; try .*queries=4"):
        TASK.count(batch(boxes=jnp.zeros((3, 4, 4))))
