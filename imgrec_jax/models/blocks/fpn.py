"""Feature pyramid network (Lin et al. 2017, "Feature Pyramid Networks")."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral connections (section 3).

    Attributes:
        width: channels of all levels.
        dtype: computation dtype.
        conv: layer class.
    """

    width: int = 64
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, features: Sequence[Float[Array, "n _ _ _"]]
    ) -> list[Float[Array, "n _ _ {self.width}"]]:
        """Return a level for each of the features, ordered fine to coarse, each half the size."""
        conv = functools.partial(self.conv, self.width, dtype=self.dtype)
        levels: list[Array] = []
        for number, feature in reversed(list(enumerate(features, start=1))):
            level = conv((1, 1), name=f"across{number}")(feature)
            if levels:
                level = level + _doubled(levels[-1], level.shape[1:3])
            levels.append(level)
        smooth = [conv((3, 3), name=f"out{k}") for k in range(len(levels), 0, -1)]
        return [layer(level) for layer, level in zip(smooth, levels, strict=True)][::-1]


def _doubled(x: Float[Array, "n _ _ c"], size: tuple[int, ...]) -> Float[Array, "n _ _ c"]:
    """Return x upsampled to two by two per pixel, cropped to an odd size if needed."""
    n, height, width, channels = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return wide.reshape(n, 2 * height, 2 * width, channels)[:, : size[0], : size[1]]
