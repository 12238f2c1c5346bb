"""Scores averaged over views of an image."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Task
from imgrec_jax.tasks.wrappers.tta import diagonal_views, flip_views, shift_views, with_views

IMAGES = np.random.default_rng(0).random((3, 6, 5, 2), np.float32)


def corner_task():
    """A task whose two logits are 0 and a multiple of the upper left pixel."""

    def predict(params, model_state, batch):
        corner = jnp.asarray(batch["image"])[:, 0, 0, 0]
        return jnp.stack([jnp.zeros_like(corner), params * corner], axis=-1)

    nothing = dict.fromkeys((field.name for field in dataclasses.fields(Task)), lambda: None)
    return Task(**{**nothing, "predict": predict})


def test_no_views_are_the_image_itself():
    logits = with_views(corner_task(), []).predict(2.0, {}, {"image": IMAGES})
    p = 1 / (1 + np.exp(-2.0 * IMAGES[:, 0, 0, 0]))
    np.testing.assert_allclose(np.exp(logits)[:, 1], p, rtol=1e-5)


def test_flipped_views_average_probabilities_by_hand():
    logits = with_views(corner_task(), [flip_views()]).predict(2.0, {}, {"image": IMAGES})
    left, right = (1 / (1 + np.exp(-2.0 * IMAGES[:, 0, k, 0])) for k in (0, -1))
    np.testing.assert_allclose(np.exp(logits)[:, 1], (left + right) / 2, rtol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(1), 1.0, rtol=1e-5)


def test_shifted_views_are_windows_of_the_reflected_image():
    views = [np.asarray(view) for view in shift_views(2)(IMAGES)]
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    assert len(views) == 5
    for view, (y, x) in zip(views, [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)], strict=True):
        np.testing.assert_array_equal(view, padded[:, y : y + 6, x : x + 5])


def test_diagonal_views_are_the_first_and_the_last_corner():
    corners = [np.asarray(view) for view in shift_views(2)(IMAGES)]
    views = [np.asarray(view) for view in diagonal_views(2)(IMAGES)]
    assert len(views) == 3
    for view, corner in zip(views, [corners[0], corners[1], corners[4]], strict=True):
        np.testing.assert_array_equal(view, corner)


def test_stages_multiply_to_ten_views():
    seen = []
    task = corner_task()

    def predict(params, model_state, batch):
        seen.append(np.asarray(batch["image"]))
        return task.predict(params, model_state, batch)

    counting = dataclasses.replace(task, predict=predict)
    with_views(counting, [flip_views(), shift_views(1)]).predict(1.0, {}, {"image": IMAGES})
    assert len(seen) == 10
    assert len(np.unique(np.stack(seen).reshape(10, -1), axis=0)) == 10


def test_outputs_other_than_logits_are_refused():
    task = dataclasses.replace(corner_task(), predict=lambda p, s, b: {"boxes": b["image"]})
    with pytest.raises(UsageError, match="for classification"):
        with_views(task, [flip_views()]).predict(1.0, {}, {"image": IMAGES})
