"""Sharpness-aware minimisation (SAM): the gradient at a perturbed point."""

from typing import Any

import jax
import jax.numpy as jnp

from imgrec_jax.core.gradient import GradientFn, GradientHook
from imgrec_jax.core.tree_paths import path_name
from imgrec_jax.optim.groups import Rules, length


def sharpness_aware(rho: float, rules: Rules) -> GradientHook:
    """Return the hook of SAM: g(θ + rho · g(θ) / ‖g(θ)‖) (Foret et al. 2021, eq. 2 and 3).

    Both gradients are those of the global batch, so the result does not depend on devices and
    micro-batches (m-sharpness, the paper's name for perturbing each shard separately, is not
    used). Frozen parameters are not perturbed. Statistics and sums are those of θ itself. A step
    takes twice the time.
    """

    def hook(gradient_fn: GradientFn) -> GradientFn:
        def uphill(params: Any) -> tuple[Any, Any]:
            gradient, aux = gradient_fn(params)
            frozen = rules.group(params).frozen
            scale = rho / jnp.maximum(length(gradient, frozen), 1e-12)

            def climb(path: Any, p: Any, g: Any) -> Any:
                return p if path_name(path) in frozen else (p + scale * g).astype(p.dtype)

            top = jax.tree_util.tree_map_with_path(climb, params, gradient)
            return gradient_fn(top)[0], aux

        return uphill

    return hook
