"""Mixup and CutMix: train on mixtures of two examples.

Partners are chosen where the global batch is known: a batch contains the partner of each row
(`partner_image`, `partner_label`). The mixing of a row then depends only on its own key and is the
same on any number of devices.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from imgrec_jax.core.context import Context
from imgrec_jax.core.random_streams import ExampleStream
from imgrec_jax.core.ranges import Range
from imgrec_jax.core.task import Batch, LossOutput, PyTree, Task

ALPHA = Range(float, 0, 1000)
"""Of a beta distribution; 0 leaves images as they are."""
Image = Float[Array, "h w c"]
Mixing = Callable[[Key[Array, ""], Image, Image], tuple[Image, Float[Array, ""]]]
"""`(key, image, partner) -> (mixed, weight)`, where weight is the image's own fraction."""


def mixup(alpha: Annotated[float, ALPHA] = 0.2) -> Mixing:
    """Blend two images, with a weight drawn from Beta(alpha, alpha).

    (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 2.) With alpha = 0
    images stay as they are.
    """

    def mix(key: Key[Array, ""], image: Image, partner: Image) -> tuple[Image, Array]:
        weight = _weight(key, alpha)
        return weight * image + (1.0 - weight) * partner, weight

    return mix


def cutmix(alpha: Annotated[float, ALPHA] = 1.0) -> Mixing:
    """Paste a window of the partner into the image at the same position.

    The window has the image's aspect ratio, 1 - Beta(alpha, alpha) of its area and a centre
    anywhere in it; the weight is the remaining fraction of the image after clipping the window (Yun
    et al. 2019, "CutMix", section 3.1 and appendix A). With alpha = 0 images stay as they are.
    """

    def mix(key: Key[Array, ""], image: Image, partner: Image) -> tuple[Image, Array]:
        weight_key, centre_key = jax.random.split(key)
        size = np.array(image.shape[:2], np.int32)
        part = jnp.sqrt(1.0 - _weight(weight_key, alpha))
        half = (part * size.astype(np.float32)).astype(jnp.int32) // 2
        centre = jax.random.randint(centre_key, (2,), 0, size)
        low, high = jnp.maximum(centre - half, 0), jnp.minimum(centre + half, size)
        rows, columns = (
            (jnp.arange(size[axis]) >= low[axis]) & (jnp.arange(size[axis]) < high[axis])
            for axis in (0, 1)
        )
        window = rows[:, None] & columns[None, :]
        covered = (high - low).prod(dtype=jnp.int32).astype(jnp.float32)
        mixed = jnp.where(window[..., None], partner, image)
        return mixed, 1.0 - covered / float(size[0] * size[1])

    return mix


def mix_images(task: Task, mixings: Sequence[Mixing]) -> Task:
    """Return the task that trains on mixed images; predictions use unmixed ones.

    Each row draws one of `mixings` with equal probability. Batches hold `image` and
    `partner_image` (both float, ready for the network), `partner_label` and `keys`. The task's
    loss receives the mixed `image`, the label of the larger part as `label`, that of the smaller
    as `partner_label`, and the larger part's weight (0.5 .. 1) as `label_weight` (float32[n]).
    """

    def mix(key: Key[Array, ""], image: Image, partner: Image) -> tuple[Image, Array]:
        choice_key, mixing_key = jax.random.split(jax.random.fold_in(key, ExampleStream.MIXING))
        mixed = [mixing(mixing_key, image, partner) for mixing in mixings]
        choice = jax.random.randint(choice_key, (), 0, len(mixings))
        images, weights = zip(*mixed, strict=True)
        return jnp.stack(images)[choice], jnp.stack(weights)[choice]

    def loss(params: PyTree, model_state: PyTree, batch: Batch, context: Context) -> LossOutput:
        image, weight = jax.vmap(mix)(batch["keys"], batch["image"], batch["partner_image"])
        own, other, larger = batch["label"], batch["partner_label"], weight >= 0.5
        mixed = {
            **batch,
            "image": image,
            "label": jnp.where(larger, own, other),
            "partner_label": jnp.where(larger, other, own),
            "label_weight": jnp.maximum(weight, 1.0 - weight),
        }
        return task.loss(params, model_state, mixed, context)

    return dataclasses.replace(task, loss=loss)


def _weight(key: Key[Array, ""], alpha: float) -> Float[Array, ""]:
    """Draw from Beta(alpha, alpha) exactly, without a rejection loop.

    Ulrich's polar method gives X / (X + Y) for gamma variates of shape alpha + 1. Multiplying each
    by U^(1 / alpha) gives shape alpha (Stuart's theorem; both in Devroye 1986, "Non-Uniform Random
    Variate Generation", chapter IX), and shifts the logit of the ratio by their logarithms.
    """
    if alpha == 0:
        return jnp.ones((), jnp.float32)
    least = np.finfo(np.float32).tiny  # with a finite logarithm
    radius, angle, own, other = jax.random.uniform(key, (4,), jnp.float32, least, 1.0)
    squared = -jnp.expm1(jnp.log(radius) / (alpha + 0.5))
    inner = 2.0 * jnp.arctanh(jnp.sqrt(squared) * jnp.cos(2.0 * np.pi * angle))
    return jax.nn.sigmoid(inner + (jnp.log(own) - jnp.log(other)) / alpha)
