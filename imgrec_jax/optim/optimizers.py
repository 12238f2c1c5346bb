"""Optimizers by name: `(schedule, **settings) -> optax.GradientTransformation`."""

import jax
import optax

from imgrec_jax.optim.schedules import Schedule


def adam(schedule: Schedule, *, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015, algorithm 1), with bias correction, `eps` outside the root."""
    return optax.adam(schedule, b1=b1, b2=b2, eps=eps)  # pyright: ignore[reportArgumentType]


def adamw(
    schedule: Schedule, *, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), not on vectors.

    Biases and the scales of norms (parameters with fewer than two axes) are not decayed.
    """
    return optax.adamw(
        schedule,  # pyright: ignore[reportArgumentType]
        b1=b1,
        b2=b2,
        eps=eps,
        weight_decay=weight_decay,
        mask=_matrices,
    )


def sgd(
    schedule: Schedule, *, momentum: float, nesterov: bool, weight_decay: float
) -> optax.GradientTransformation:
    """SGD with momentum; weight decay is added to the gradient, as in torch, not on vectors."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=_matrices),
        optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov),  # pyright: ignore[reportArgumentType]
    )


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda p: p.ndim > 1, params)
