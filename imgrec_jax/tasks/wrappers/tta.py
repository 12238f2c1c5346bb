"""Test-time augmentation: scores averaged over several views of each image.

A stage turns a batch of images [n, h, w, c] into a list of views of it, all of that shape; the
first is the batch as it is.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, PyTree, Task

Images = Array
Views = Callable[[Images], list[Images]]


def flip_views() -> Views:
    """Show each image as it is and mirrored left and right."""
    return lambda images: [images, jnp.flip(images, 2)]


def shift_views(pixels: int = 1) -> Views:
    """Show each image as it is and moved by `pixels` towards its four corners.

    What comes in is reflected without the edge pixel. With "flip" these are the ten views of
    Krizhevsky et al. 2012 ("ImageNet Classification", section 4.1).
    """
    if pixels < 1:
        raise UsageError(f"expected shift(pixels=1 or more), got {pixels}; try shift(1)")

    ends = (0, 2 * pixels)
    return _shifted(pixels, [(y, x) for y in ends for x in ends])


def diagonal_views(pixels: int = 1) -> Views:
    """Show each image as it is and moved by `pixels` towards two opposite corners.

    With "flip" these are the six views of Jordan 2024 (arXiv:2404.00498, section 3.5).
    """
    if pixels < 1:
        raise UsageError(f"expected diagonal(pixels=1 or more), got {pixels}; try diagonal(1)")
    return _shifted(pixels, [(0, 0), (2 * pixels, 2 * pixels)])


def with_views(task: Task, stages: Sequence[Views]) -> Task:
    """Return the classification task whose predictions are averaged over views.

    Each stage shows every view of the stage before in its own ways. Probabilities are averaged;
    what comes out are their logarithms, which are logits like any others.

    Raises:
        UsageError: the task's outputs are not logits[n, k].
    """

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> Float[Array, "n k"]:
        views = [batch["image"]]
        for stage in stages:
            views = [new for view in views for new in stage(view)]
        # One after the other: all at once would take as many times the memory.
        scores = [task.predict(params, model_state, {**batch, "image": v}) for v in views]
        if any(getattr(s, "ndim", 0) != 2 for s in scores):
            raise UsageError("expected tta for classification, got another task; try ''")
        logs = [jax.nn.log_softmax(s.astype(jnp.float32)) for s in scores]
        return jax.nn.logsumexp(jnp.stack(logs), axis=0) - jnp.log(float(len(logs)))

    return dataclasses.replace(task, predict=predict)


def _shifted(pixels: int, places: Sequence[tuple[int, int]]) -> Views:
    """Show images as they are, and cut out at `places` of them with a rim of `pixels`."""

    def views(images: Images) -> list[Images]:
        height, width = images.shape[1:3]
        around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        padded = jnp.pad(images, around, mode="reflect")
        return [images, *(padded[:, y : y + height, x : x + width] for y, x in places)]

    return views
