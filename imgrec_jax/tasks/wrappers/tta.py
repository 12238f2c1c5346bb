"""Test-time augmentation: scores averaged over several views of each image.

A stage turns a batch of images [n, h, w, c] into a list of views, all of that shape; the first view
is the batch itself.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import whole
from imgrec_jax.core.task import Batch, PyTree, Task

Images = Array
SHIFT = whole(1, 1000)
"""Pixels."""
Views = Callable[[Images], list[Images]]


def flip_views() -> Views:
    """Return the stage with each image and its horizontal mirror image as views."""
    return lambda images: [images, jnp.flip(images, 2)]


def shift_views(pixels: Annotated[int, SHIFT] = 1) -> Views:
    """Return the stage with each image and its shifts by `pixels` towards the four corners.

    Borders are filled by reflection, without the edge pixel. With "flip" these are the ten views of
    Krizhevsky et al. 2012 ("ImageNet Classification", section 4.1).
    """
    ends = (0, 2 * pixels)
    return _shifted(pixels, [(y, x) for y in ends for x in ends])


def diagonal_views(pixels: Annotated[int, SHIFT] = 1) -> Views:
    """Return the stage with each image and its shifts by `pixels` towards two opposite corners.

    With "flip" these are the six views of Jordan 2024 (arXiv:2404.00498, section 3.5).
    """
    return _shifted(pixels, [(0, 0), (2 * pixels, 2 * pixels)])


def with_views(task: Task, stages: Sequence[Views]) -> Task:
    """Return the classification task whose predictions are averaged over views.

    Each stage is applied to every view of the previous stage. Probabilities are averaged; the
    result is their logarithms, which are valid logits.

    Raises:
        UsageError: the task's outputs are not logits[n, k].
    """

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> Float[Array, "n k"]:
        views = [batch["image"]]
        for stage in stages:
            views = [new for view in views for new in stage(view)]
        # One view at a time: all at once would multiply the memory.
        scores = [task.predict(params, model_state, {**batch, "image": v}) for v in views]
        if any(getattr(s, "ndim", 0) != 2 for s in scores):
            raise UsageError("expected tta for classification, got another task; try ''")
        logs = [jax.nn.log_softmax(s.astype(jnp.float32)) for s in scores]
        return jax.nn.logsumexp(jnp.stack(logs), axis=0) - jnp.log(float(len(logs)))

    return dataclasses.replace(task, predict=predict)


def _shifted(pixels: int, places: Sequence[tuple[int, int]]) -> Views:
    """Return the stage with images and their crops at `places` after padding by `pixels`."""

    def views(images: Images) -> list[Images]:
        height, width = images.shape[1:3]
        around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        padded = jnp.pad(images, around, mode="reflect")
        return [images, *(padded[:, y : y + height, x : x + width] for y, x in places)]

    return views
