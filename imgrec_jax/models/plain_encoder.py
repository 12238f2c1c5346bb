"""A small encoder of plain convolutions, to learn from scratch on a CPU."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.models.norm import BatchNorm

STAGES = 5
HE_NORMAL = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class PlainEncoder(nn.Module):
    """Five stages that each halve the resolution: a 3x3 convolution of stride 2, then one more.

    The first stage has one convolution alone: at half the resolution each is as dear as all of
    the third stage.

    Attributes:
        width: channels of the first stage; every further one has twice as many, but the last,
            which has as many as the fourth.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: what is computed in.
        conv: the layer to build from.
    """

    width: int = 16
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " n"] | None = None,
        stages: bool = True,
    ) -> list[Float[Array, "n _ _ _"]]:
        """Return features from fine to coarse: at 1/2, 1/4, 1/8, 1/16 and 1/32, rounded up.

        Rows with `mask` false take no part in batch statistics.
        """
        del stages  # there is nothing but stages
        x, features = images, []
        for stage in range(STAGES):
            width = self.width * 2 ** min(stage, STAGES - 2)
            for layer in range(1 if stage == 0 else 2):
                name = f"stage{stage + 1}_conv{layer + 1}"
                conv = functools.partial(self.conv, use_bias=False, kernel_init=HE_NORMAL)
                strides = (2, 2) if layer == 0 else (1, 1)
                x = conv(width, (3, 3), strides=strides, dtype=self.dtype, name=name)(x)
                norm = BatchNorm(axis_name=self.axis_name, dtype=self.dtype, name=f"{name}_norm")
                x = nn.relu(norm(x, train=train, mask=mask))
            features.append(x)
        return features
