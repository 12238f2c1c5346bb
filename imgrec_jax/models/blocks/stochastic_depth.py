"""Stochastic depth: Huang et al. 2016, "Deep Networks with Stochastic Depth"."""

import flax.linen as nn
from jaxtyping import Array, Float


def rising_rates(last: float, depth: int) -> list[float]:
    """Return the rate of each of `depth` blocks, from 0 to `last` in equal steps (section 3)."""
    return [last * number / max(depth - 1, 1) for number in range(depth)]


class StochasticDepth(nn.Module):
    """Drop the residual branch of an image with probability `rate`, in training.

    The kept branches are scaled by 1 / (1 - rate), so that prediction needs no change. The random
    stream is `dropout`.
    """

    rate: float

    @nn.compact
    def __call__(self, branch: Float[Array, "n *rest"], train: bool) -> Float[Array, "n *rest"]:
        """Return the branch, scaled or zero for each row."""
        whole_row = tuple(range(1, branch.ndim))
        return nn.Dropout(self.rate, broadcast_dims=whole_row, deterministic=not train)(branch)
