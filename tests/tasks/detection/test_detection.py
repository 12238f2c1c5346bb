import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.tasks.detection.fcos import dense_detector
from imgrec_jax.tasks.detection.task import detect, rows

LOGITS = jnp.array([[3.0, -1.0], [-2.0, 0.5], [0.0, 0.0], [1.0, -4.0]])


class FixedOutputs(nn.Module):
    """A network that always says the same of the four places of 16x16 images (stride 8)."""

    strides = (8,)

    @nn.compact
    def __call__(self, images, *, train=False, mask=None):
        del train, mask
        logits = self.param("logits", lambda key: LOGITS)
        n = len(images)
        return {
            "logits": jnp.tile(logits[None], (n, 1, 1)),
            "distances": jnp.full((n, 4, 4), 4.0),
            "quality": jnp.full((n, 4, 1), 1.0),
        }


def batch(n=1, **changes):
    """Return images with one box of label 1, [1, 1, 8, 8], around the first place, (4, 4)."""
    made = {
        "image": jnp.zeros((n, 16, 16, 3)),
        "boxes": jnp.tile(jnp.array([[[1.0, 1.0, 8.0, 8.0], [0.0, 0.0, 0.0, 0.0]]]), (n, 1, 1)),
        "box_label": jnp.tile(jnp.array([[1, 0]], jnp.int32), (n, 1)),
        "box_mask": jnp.tile(jnp.array([[True, False]]), (n, 1)),
        "box_ignore": jnp.zeros((n, 2), bool),
        "mask": jnp.ones(n, bool),
    }
    return {**made, **changes}


TASK = detect(FixedOutputs(), num_classes=2)


def loss_of(data, counts=None):
    params, state = TASK.init(jax.random.key(0), data)
    counts = TASK.count(data) if counts is None else counts
    return TASK.loss(params, state, data, Context(jax.random.key(1), counts))


def focal(logit, target):
    p = 1 / (1 + np.exp(-logit))
    return -0.25 * (1 - p) ** 2 * np.log(p) if target else -0.75 * p**2 * np.log(1 - p)


def test_the_loss_by_hand():
    """The box said is [0, 0, 8, 8]: overlap 49 of 64, which is the smallest box around both."""
    output = loss_of(batch())
    targets = np.zeros((4, 2))
    targets[0, 1] = 1
    by_hand = sum(
        focal(float(logit), target)
        for logit, target in zip(LOGITS.reshape(-1), targets.reshape(-1), strict=True)
    )
    overlap = 49 / 64
    quality = np.log(1 + np.exp(1.0)) - overlap
    np.testing.assert_allclose(output.metric_sums["focal_loss"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(output.metric_sums["box_loss"], 1 - overlap, rtol=1e-5)
    np.testing.assert_allclose(output.metric_sums["quality_loss"], quality, rtol=1e-5)
    np.testing.assert_allclose(output.loss, by_hand + 1 - overlap + quality, rtol=1e-5)


def test_the_count_knows_places_alone():
    assert TASK.count(batch())["positives"] == 1
    assert TASK.count(batch(3, mask=jnp.array([True, False, True])))["positives"] == 2
    ignored = jnp.array([[True, False]])
    assert TASK.count(batch(box_ignore=ignored))["positives"] == 0


def test_each_term_is_divided_by_the_global_count():
    one, half = loss_of(batch()), loss_of(batch(), {"positives": jnp.asarray(2.0)})
    np.testing.assert_allclose(half.loss, one.loss / 2, rtol=1e-6)


def test_padding_rows_are_left_out():
    padded = batch(2, mask=jnp.array([True, False]))
    np.testing.assert_allclose(loss_of(padded).loss, loss_of(batch()).loss, rtol=1e-6)


def test_images_without_boxes_teach_that_nothing_is_there():
    output = loss_of(batch(box_mask=jnp.zeros((1, 2), bool)))
    assert output.metric_sums["positives"] == 0
    assert output.metric_sums["box_loss"] == 0
    by_hand = sum(focal(float(logit), 0) for logit in LOGITS.reshape(-1))
    np.testing.assert_allclose(output.loss, by_hand, rtol=1e-5)


def test_a_batch_of_padding_alone_has_no_gradient():
    data = batch(mask=jnp.zeros(1, bool))
    params, state = TASK.init(jax.random.key(0), data)

    def loss(params):
        return TASK.loss(params, state, data, Context(jax.random.key(1), TASK.count(data))).loss

    value, gradient = jax.value_and_grad(loss)(params)
    assert value == 0
    assert (gradient["logits"] == 0).all()


def test_what_is_said_in_ignored_boxes_is_not_scored():
    output = loss_of(batch(box_ignore=jnp.array([[True, False]])))
    by_hand = sum(focal(float(logit), 0) for logit in LOGITS[1:].reshape(-1))
    np.testing.assert_allclose(output.loss, by_hand, rtol=1e-5)


def test_predictions_and_rows_by_hand():
    """Scores are sqrt(p · q); boxes of neighbouring places only touch, so all stay."""
    params, state = TASK.init(jax.random.key(0), batch())
    outputs = TASK.predict(params, state, {"image": jnp.zeros((1, 16, 16, 3))})
    assert outputs["boxes"].shape == (1, 100, 4)
    quality = 1 / (1 + np.exp(-1.0))
    best = np.sqrt(quality / (1 + np.exp(-3.0)))
    np.testing.assert_allclose(outputs["scores"][0, 0], best, rtol=1e-5)
    assert outputs["boxes"][0, 0].tolist() == [0, 0, 8, 8]
    assert outputs["labels"][0, :3].tolist() == [0, 0, 1]
    found = rows(outputs, batch())
    # Of label 1, only the place around the box has found it.
    place = np.flatnonzero(found["matched"][0])
    assert place.size == 1
    assert outputs["labels"][0, place[0]] == 1
    assert outputs["boxes"][0, place[0]].tolist() == [0, 0, 8, 8]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detections": 0}, "task.detections"),
        ({"nms_iou": 1.5}, "task.nms_iou"),
        ({"min_score": 0.0}, "task.min_score"),
    ],
)
def test_impossible_settings_are_told(settings, message):
    with pytest.raises(UsageError, match=message):
        detect(FixedOutputs(), num_classes=2, **settings)


def test_the_overlap_is_a_target_and_moves_no_box():
    """Else boxes would be made worse where the predicted quality is low."""
    detector = dense_detector((8,), num_classes=2, detections=4, nms_iou=0.6, min_score=0.05)

    def quality_loss(distances):
        outputs = {
            "logits": LOGITS[None],
            "distances": distances,
            "quality": jnp.full((1, 4, 1), 1.0),
        }
        return detector.sums(outputs, batch())["quality_loss"]

    loss, gradient = jax.value_and_grad(quality_loss)(jnp.full((1, 4, 4), 4.0))
    assert loss > 0.1
    assert (gradient == 0).all()
