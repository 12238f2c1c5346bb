"""Loss functions of arrays: pure mathematics, no reduction over the batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def softmax_cross_entropy(
    logits: Float[Array, "n k"],
    labels: Int[Array, " n"],
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] = (),
) -> Float[Array, " n"]:
    """Return the cross-entropy of each example, in nats.

    With `label_smoothing` = s the target is (1 - s) · one_hot + s / k (Szegedy et al. 2016,
    "Rethinking the Inception Architecture", section 7). With `class_weights` each class of the
    target has its own weight, -Σ weight · target · log p, as in torch.nn.CrossEntropyLoss.
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    if class_weights:
        log_p = log_p * jnp.asarray(class_weights, jnp.float32)[None]
    picked = jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return -(1.0 - label_smoothing) * picked - label_smoothing * log_p.mean(-1)


def binary_focal_loss(
    logits: Float[Array, "*n"],
    targets: Float[Array, "*n"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*n"]:
    """Return the focal loss in nats: cross-entropy that gives easy examples less weight.

    -a (1 - p)^gamma log p for the probability p of the true answer, with a = alpha where the
    target is 1 and 1 - alpha where it is 0 (Lin et al. 2017, "Focal Loss for Dense Object
    Detection", equation 5). Logits and targets have the same shape; targets are 0 or 1.
    """
    towards = jnp.where(targets > 0, logits, -logits)
    weight = jnp.where(targets > 0, alpha, 1.0 - alpha)
    return -weight * jax.nn.sigmoid(-towards) ** gamma * jax.nn.log_sigmoid(towards)
