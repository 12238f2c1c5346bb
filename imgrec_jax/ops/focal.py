"""The focal loss of independent yes-or-no questions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def binary_focal_loss(
    logits: Float[Array, "*n"],
    targets: Float[Array, "*n"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*n"]:
    """Return the cross-entropy in nats, with easy answers weighed down.

    -a (1 - p)^gamma log p for the probability p of the right answer, with a = alpha where the
    target is 1 and 1 - alpha where it is 0 (Lin et al. 2017, "Focal Loss for Dense Object
    Detection", equation 5). Logits and targets of one shape; targets are 0 or 1.
    """
    towards = jnp.where(targets > 0, logits, -logits)
    weight = jnp.where(targets > 0, alpha, 1.0 - alpha)
    return -weight * jax.nn.sigmoid(-towards) ** gamma * jax.nn.log_sigmoid(towards)
