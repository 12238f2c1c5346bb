"""MLP-Mixer: Tolstikhin et al. 2021, "MLP-Mixer: An all-MLP Architecture for Vision".

With 224x224 and 1,000 classes, mixer_s16 has 18,528,264 parameters and takes 3.78 G multiply-adds
per image.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.stochastic_depth import StochasticDepth, rising_rates

Tokens = Float[Array, "n t c"]


class Mlp(nn.Module):
    """Two dense layers over the last axis with a GELU between, of hidden width `hidden`."""

    hidden: int
    precision: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n a b"]) -> Float[Array, "n a b"]:
        """Return each row, transformed independently."""
        y = nn.gelu(nn.Dense(self.hidden, name="expand", **self.precision)(x), approximate=False)
        return nn.Dense(x.shape[-1], name="project", **self.precision)(y)


class Block(nn.Module):
    """An MLP over tokens, then one over channels, each a pre-norm residual branch."""

    tokens_hidden: int
    channels_hidden: int
    stochastic_depth: float
    precision: Any

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Tokens:
        """Return the tokens with both branches added (section 2, equation 1)."""
        drop = functools.partial(StochasticDepth(self.stochastic_depth), train=train)
        y = nn.LayerNorm(name="norm1", **self.precision)(x).swapaxes(1, 2)
        y = Mlp(self.tokens_hidden, self.precision, name="tokens")(y).swapaxes(1, 2)
        x = x + drop(y)
        y = nn.LayerNorm(name="norm2", **self.precision)(x)
        return x + drop(Mlp(self.channels_hidden, self.precision, name="channels")(y))


class Mixer(nn.Module):
    """Patches as tokens, alternating MLPs over tokens and channels, mean and a dense layer.

    Attributes:
        patch: side of a patch in pixels.
        width, depth: channels and blocks.
        tokens_hidden, channels_hidden: hidden widths of the two MLPs of a block.
        num_classes: the number of logits; 0 gives the features before the last layer.
        stochastic_depth: the rate of the last block; that of the first is 0.
        remat: store only the input of each block for the gradient and recompute the rest.
        dtype: computation dtype; norms sum in float32.
        param_dtype: of the parameters.
    """

    patch: int
    width: int
    depth: int
    tokens_hidden: int
    channels_hidden: int
    num_classes: int = 1000
    stochastic_depth: float = 0.0
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n k"]:
        """Return logits. `mask` has no effect: no layer mixes rows."""
        del mask
        if images.shape[1] % self.patch or images.shape[2] % self.patch:
            raise UsageError(
                f"expected images of a multiple of {self.patch} pixels for patches of that "
                f"size, got {images.shape[1]}x{images.shape[2]}; "
                "try another --config.data.image_size"
            )
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        window = (self.patch, self.patch)
        x = nn.Conv(self.width, window, strides=window, padding="VALID", name="embed", **precision)(
            images
        )
        x = x.reshape(len(x), -1, self.width)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for number, rate in enumerate(rising_rates(self.stochastic_depth, self.depth), start=1):
            settings = (self.tokens_hidden, self.channels_hidden, rate, precision)
            x = block(*settings, name=f"block{number}")(x, train)
        x = nn.LayerNorm(name="norm", **precision)(x).mean(1)
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        zeros = nn.initializers.zeros
        return nn.Dense(self.num_classes, kernel_init=zeros, name="head", **precision)(x)


mixer_s16 = functools.partial(
    Mixer, patch=16, width=512, depth=8, tokens_hidden=256, channels_hidden=2048
)
