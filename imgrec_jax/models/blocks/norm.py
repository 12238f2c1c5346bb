"""Batch normalisation that is exact under padding and on any number of devices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class BatchNorm(nn.Module):
    """Normalise by the statistics of all valid rows of the global batch (Ioffe & Szegedy 2015).

    Linen's BatchNorm averages per-device means, which is wrong if devices hold different numbers
    of valid rows, and NaN if one holds none. Here Σx and the count, then Σ(x - mean)², are summed
    over the devices and divided once, in float32. The second pass keeps the variance right where
    the mean is far larger than the deviation: there, E[x²] - E[x]² cancels. Rows with `mask` false
    do not contribute to the statistics (they are normalised like the others, so that shapes stay
    the same).

    Attributes:
        momentum: weight of the old running statistics.
        epsilon: added to the variance.
        axis_name: the mapped axis over which statistics are added, or None.
        dtype: of the output.
        scale_init: initialiser of the scale; zeros for the last norm of a residual branch.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: Any = jnp.float32
    scale_init: Callable[..., Array] = nn.initializers.ones

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n *space c"],
        *,
        train: bool,
        mask: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n *space c"]:
        """Return x normalised per channel; training also updates the running statistics."""
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)

        if train and not self.is_initializing():
            mean, var, count = _statistics(x, mask, self.axis_name)
            # PyTorch keeps the unbiased variance; a batch without a valid row changes nothing.
            unbiased = var * count / jnp.maximum(count - 1.0, 1.0)
            keep = jnp.where(count > 0, self.momentum, 1.0)
            running_mean.value = keep * running_mean.value + (1.0 - keep) * mean
            running_var.value = keep * running_var.value + (1.0 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value

        # One multiply-add, whose gradient needs only x: (x - mean) would be stored as well.
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        y = x.astype(jnp.float32) * _last(factor, x) + _last(bias - mean * factor, x)
        return y.astype(self.dtype)


def _statistics(
    x: Float[Array, "n *space c"], mask: Bool[Array, " n"] | None, axis_name: str | None
) -> tuple[Float[Array, " c"], Float[Array, " c"], Float[Array, ""]]:
    """Return mean, biased variance and the number of values per channel, over all devices."""
    x = x.astype(jnp.float32)
    space = tuple(range(1, x.ndim - 1))
    valid = jnp.ones(len(x), bool) if mask is None else mask
    count = valid.sum(dtype=jnp.float32) * x[0, ..., 0].size

    def total(values: Float[Array, "n *space c"]) -> Float[Array, " c"]:
        # Mask rows after the sum over space; masking before it would copy x.
        return jnp.where(valid[:, None], values.sum(space), 0.0).sum(0)

    def add_up(sums: Any) -> Any:
        return sums if axis_name is None else jax.lax.psum(sums, axis_name)

    sum_of_x, count = add_up((total(x), count))
    divisor = jnp.maximum(count, 1.0)
    mean = sum_of_x / divisor
    # Σ(x - mean)² is least at the mean, so its derivative by the mean is 0.
    deviation = x - _last(jax.lax.stop_gradient(mean), x)
    return mean, add_up(total(jnp.square(deviation))) / divisor, count


def _last(vector: Float[Array, " c"], like: Array) -> Array:
    """Return a per-channel vector with as many axes as `like` (rank promotion stays off)."""
    return vector.reshape(*[1] * (like.ndim - 1), -1)
