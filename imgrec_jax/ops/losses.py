"""Loss functions of arrays: pure mathematics, no reduction over the batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def softmax_cross_entropy(
    logits: Float[Array, "n k"], labels: Int[Array, " n"], label_smoothing: float = 0.0
) -> Float[Array, " n"]:
    """Return the cross-entropy of each example, in nats.

    With `label_smoothing` = s the target is (1 - s) · one_hot + s / k (Szegedy et al. 2016,
    "Rethinking the Inception Architecture", section 7).
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    picked = jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]
    return -(1.0 - label_smoothing) * picked - label_smoothing * log_p.mean(-1)
