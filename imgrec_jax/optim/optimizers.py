"""Optimizers that optax lacks in this form: `(schedule, **settings) -> transformation`.

`mask(params)` marks the decayed parameters.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from optax import contrib

from imgrec_jax.optim.schedules import Schedule

Mask = Callable[[Any], Any]
NONE_AT_ZERO = frozenset(
    {
        "optim.adafactor.clipping_threshold",
        "optim.adafactor.momentum",
        "optim.adafactor.weight_decay",
        "optim.muon.consistent_rms",
        "optim.rmsprop.momentum",
        "optim.sgd.momentum",
    }
)
"""Settings where 0 omits a part of the optimizer, so that 0 compiles to a different program."""
_ATTENTION_OUTPUT = "out"  # Linen's name for the layer whose kernel is [heads, size, features]


def sgd(
    schedule: Schedule, *, momentum: float, nesterov: bool, weight_decay: float, mask: Mask
) -> optax.GradientTransformation:
    """SGD with momentum; weight decay is added to the gradient, as in torch."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=mask),
        optax.sgd(schedule, momentum=_or_none(momentum), nesterov=nesterov),  # pyright: ignore[reportArgumentType]
    )


def rmsprop(
    schedule: Schedule, *, decay: float, eps: float, momentum: float, centered: bool
) -> optax.GradientTransformation:
    """RMSProp (Hinton 2012, lecture 6e), with momentum if it is not 0.

    `eps` is added to the mean square, inside the root, as in TensorFlow (torch adds it outside).
    """
    return optax.rmsprop(
        schedule,  # pyright: ignore[reportArgumentType]
        decay=decay,
        eps=eps,
        momentum=_or_none(momentum),
        centered=centered,
    )


def adafactor(
    schedule: Schedule,
    *,
    min_dim_size_to_factor: int,
    decay_rate: float,
    multiply_by_parameter_scale: bool,
    clipping_threshold: float,
    momentum: float,
    weight_decay: float,
    mask: Mask,
) -> optax.GradientTransformation:
    """Adafactor (Shazeer & Stern 2018, algorithm 4); weight decay is not scaled by the rate."""
    return optax.adafactor(
        schedule,  # pyright: ignore[reportArgumentType]
        min_dim_size_to_factor=min_dim_size_to_factor,
        decay_rate=decay_rate,
        multiply_by_parameter_scale=multiply_by_parameter_scale,
        clipping_threshold=_or_none(clipping_threshold),
        momentum=_or_none(momentum),
        weight_decay_rate=_or_none(weight_decay),
        weight_decay_mask=mask,
    )


def lamb(
    schedule: Schedule, *, b1: float, b2: float, eps: float, weight_decay: float, mask: Mask
) -> optax.GradientTransformation:
    """LAMB (You et al. 2020, algorithm 2); undecayed parameters are not scaled by norms either.

    As in the authors' code, biases and norms take Adam's step.
    """
    return optax.chain(
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        optax.add_decayed_weights(weight_decay, mask=mask),
        optax.masked(optax.scale_by_trust_ratio(), mask),
        optax.scale_by_learning_rate(schedule),  # pyright: ignore[reportArgumentType]
    )


def lars(
    schedule: Schedule,
    *,
    momentum: float,
    nesterov: bool,
    trust_coefficient: float,
    weight_decay: float,
    mask: Mask,
) -> optax.GradientTransformation:
    """LARS (You et al. 2017, algorithm 1); undecayed parameters are not scaled by norms either."""
    return optax.lars(
        schedule,  # pyright: ignore[reportArgumentType]
        weight_decay=weight_decay,
        weight_decay_mask=mask,
        trust_coefficient=trust_coefficient,
        trust_ratio_mask=mask,
        momentum=momentum,
        nesterov=nesterov,
    )


def muon(
    schedule: Schedule,
    *,
    beta: float,
    ns_steps: int,
    nesterov: bool,
    consistent_rms: float,
    adam_b1: float,
    adam_b2: float,
    weight_decay: float,
    mask: Mask,
) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024) for kernels, including the last layer's, and Adam for all else.

    A convolution's kernel is the matrix [height · width · in, out]. With `consistent_rms` updates
    are as large as Adam's, so both share one learning rate (Liu et al. 2025, eq. 4: 0.2); at 0
    they are scaled by sqrt(max(1, out / in)). Both are decayed, as in AdamW.
    """
    orthogonal = contrib.muon(
        1.0,
        ns_steps=ns_steps,
        beta=beta,
        nesterov=nesterov,
        adam_b1=adam_b1,
        adam_b2=adam_b2,
        muon_weight_dimension_numbers=_matrix_axes,
        consistent_rms=_or_none(consistent_rms),
    )
    return optax.chain(
        orthogonal,
        optax.add_decayed_weights(-weight_decay, mask=mask),  # the sign is already flipped
        optax.scale_by_learning_rate(schedule, flip_sign=False),  # pyright: ignore[reportArgumentType]
    )


def sm3(schedule: Schedule, *, momentum: float) -> optax.GradientTransformation:
    """SM3 (Anil et al. 2019, algorithm SM3-II), which has no schedule in optax."""
    return optax.chain(
        optax.scale_by_sm3(momentum),
        optax.scale_by_learning_rate(schedule),  # pyright: ignore[reportArgumentType]
    )


def _or_none(setting: Any) -> Any:
    """Return None for a plain 0: optax's value for omitting a part."""
    return None if isinstance(setting, int | float) and setting == 0 else setting


def _matrix_axes(params: Any) -> Any:
    """Return the input and output axes of each kernel, and None for other parameters."""

    def one(path: Any, leaf: Any) -> contrib.MuonDimensionNumbers | None:
        names = [getattr(key, "key", "") for key in path]
        if names[-1] != "kernel" or leaf.ndim < 2:
            return None
        first_out = leaf.ndim - 1
        if leaf.ndim == 3 and _ATTENTION_OUTPUT not in names:  # [features, heads, size]
            first_out = 1
        return contrib.MuonDimensionNumbers(
            tuple(range(first_out)), tuple(range(first_out, leaf.ndim))
        )

    return jax.tree_util.tree_map_with_path(one, params)
