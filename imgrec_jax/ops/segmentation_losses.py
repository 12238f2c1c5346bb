"""Segmentation losses: pure mathematics, one number per image.

Each takes logits [n, h, w, k], labels int[n, h, w] and `valid` bool[n, h, w]; the values of
`labels` where `valid` is false do not matter. They return float32[n]: the first two the sum over
the valid pixels of each image, the others the mean over the classes that occur in it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from imgrec_jax.ops.losses import softmax_cross_entropy

Logits = Float[Array, "n h w k"]
Labels = Int[Array, "n h w"]
Valid = Bool[Array, "n h w"]
PerImage = Float[Array, " n"]


def cross_entropy_sums(
    logits: Logits,
    labels: Labels,
    valid: Valid,
    class_weights: Sequence[float] = (),
    label_smoothing: float = 0.0,
) -> PerImage:
    """Return Σ weighted cross-entropy in nats over the valid pixels of each image."""
    labels = jnp.where(valid, labels, 0)
    flat = softmax_cross_entropy(
        logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), label_smoothing, class_weights
    )
    return jnp.where(valid, flat.reshape(labels.shape), 0.0).sum((1, 2))


def focal_sums(
    logits: Logits,
    labels: Labels,
    valid: Valid,
    class_weights: Sequence[float] = (),
    gamma: float = 2.0,
) -> PerImage:
    """Return Σ -weight · (1 - p)^gamma · log p over the valid pixels of each image.

    p is the probability of the true class (Lin et al. 2017, "Focal Loss for Dense Object
    Detection", eq. 5, in its softmax form).
    """
    labels = jnp.where(valid, labels, 0)
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    log_p = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    # 1 - p, kept above 0, where a power between 0 and 1 has no derivative.
    rest = jnp.maximum(-jnp.expm1(log_p), 1e-7)
    losses = -(rest**gamma) * log_p
    return jnp.where(valid, losses * _weights(labels, class_weights), 0.0).sum((1, 2))


def dice_losses(logits: Logits, labels: Labels, valid: Valid) -> PerImage:
    """Return 1 - 2 Σ p g / (Σ p² + Σ g²), as mean over the classes that occur in each image.

    p are the probabilities and g the truth of a class, 0 or 1 (Milletari et al. 2016, "V-Net",
    section 3). An image without a valid pixel has the loss 0.
    """
    p, g = _probabilities_and_truth(logits, labels, valid)
    overlap, total = (p * g).sum(1), (p**2).sum(1) + g.sum(1)
    occurs = g.sum(1) > 0
    losses = 1.0 - 2.0 * overlap / jnp.where(occurs, total, 1.0)
    return _mean_where(losses, occurs)


def lovasz_losses(logits: Logits, labels: Labels, valid: Valid) -> PerImage:
    """Return the Lovász-softmax loss, as mean over the classes that occur in each image.

    The convex closure of the Jaccard loss 1 - IoU in the errors `|g - p|` (Berman et al. 2018,
    "The Lovász-Softmax loss", eq. 9 and algorithm 1). Invalid pixels get the error 0, so they have
    no influence. An image without a valid pixel has the loss 0.
    """
    p, g = _probabilities_and_truth(logits, labels, valid)
    errors = jnp.abs(g - p)
    order = jnp.argsort(-jax.lax.stop_gradient(errors), axis=1)
    errors = jnp.take_along_axis(errors, order, axis=1)
    truth = jnp.take_along_axis(g, order, axis=1)
    total = truth.sum(1, keepdims=True)
    missed = jnp.cumsum(truth, axis=1)
    union = total + jnp.cumsum(1.0 - truth, axis=1)
    jaccard = 1.0 - (total - missed) / union
    before = jnp.pad(jaccard[:, :-1], [(0, 0), (1, 0), (0, 0)])
    return _mean_where((errors * (jaccard - before)).sum(1), total[:, 0] > 0)


def _probabilities_and_truth(
    logits: Logits, labels: Labels, valid: Valid
) -> tuple[Float[Array, "n p k"], Float[Array, "n p k"]]:
    """Return flattened probabilities and one-hot labels of all pixels; zeros where not valid."""
    n, *_, k = logits.shape
    p = jnp.where(valid[..., None], jax.nn.softmax(logits.astype(jnp.float32)), 0.0)
    g = jax.nn.one_hot(jnp.where(valid, labels, -1), k, dtype=jnp.float32)
    return p.reshape(n, -1, k), g.reshape(n, -1, k)


def _mean_where(values: Float[Array, "n k"], chosen: Bool[Array, "n k"]) -> PerImage:
    count = chosen.sum(1, dtype=jnp.float32)
    return jnp.where(chosen, values, 0.0).sum(1) / jnp.maximum(count, 1.0)


def _weights(labels: Labels, class_weights: Sequence[float]) -> Array:
    if not class_weights:
        return jnp.ones(labels.shape, jnp.float32)
    return jnp.asarray(class_weights, jnp.float32)[labels]
