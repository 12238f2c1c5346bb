"""Types of functions that compute the gradient of a whole batch, and hooks around them."""

from collections.abc import Callable
from typing import Any

from imgrec_jax.core.task import PyTree

GradientFn = Callable[[PyTree], tuple[PyTree, Any]]
"""`params -> (gradient, aux)` of the global batch: added over all devices and micro-batches."""
GradientHook = Callable[[GradientFn], GradientFn]


def as_it_is(gradient_fn: GradientFn) -> GradientFn:
    """Return the gradient function unchanged: the default hook."""
    return gradient_fn
