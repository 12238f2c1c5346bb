"""Vision transformers: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words".

Sizes Ti and S are from DeiT (Touvron et al. 2020). `pool="mean"` with `positions="sincos"` is the
improved plain ViT of Beyer et al. 2022.

Parameters and multiply-adds per image, at 224x224 with 1,000 classes, class token and learned
positions:

    vit_ti16     5,717,416     1.25 G        vit_b32     88,224,232     4.41 G
    vit_s16     22,050,664     4.60 G        vit_b16     86,567,656    17.56 G
    vit_s32     22,878,952     1.14 G        vit_l16    304,326,632    61.55 G
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.models.blocks.stochastic_depth import StochasticDepth, rising_rates
from imgrec_jax.ops.position_embeddings import sincos_positions

Tokens = Float[Array, "n t c"]
POOLS = ("token", "mean")
POSITIONS = ("learned", "sincos")


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2); softmax in float32."""

    heads: int
    precision: Any
    attention: Callable[..., Array] = jax.nn.dot_product_attention

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """Return the attended values for each token."""
        n, t, width = x.shape
        dense = functools.partial(
            nn.Dense, kernel_init=nn.initializers.xavier_uniform(), **self.precision
        )
        split = (n, t, self.heads, width // self.heads)
        query, key, value = (
            dense(width, name=name)(x).reshape(split) for name in ("query", "key", "value")
        )
        gathered = self.attention(query, key, value)
        return dense(width, name="out")(gathered.reshape(x.shape))


class Mlp(nn.Module):
    """Two dense layers with a GELU between, of hidden width `hidden`."""

    hidden: int
    dropout: float
    precision: Any

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Tokens:
        """Return each token, transformed independently."""
        dense = functools.partial(
            nn.Dense,
            kernel_init=nn.initializers.xavier_uniform(),
            bias_init=nn.initializers.normal(1e-6),
            **self.precision,
        )
        y = nn.gelu(dense(self.hidden, name="expand")(x), approximate=False)
        y = nn.Dropout(self.dropout, deterministic=not train)(y)
        return dense(x.shape[-1], name="project")(y)


class Block(nn.Module):
    """Attention, then an MLP, each a pre-norm residual branch."""

    heads: int
    dropout: float
    stochastic_depth: float
    epsilon: float
    precision: Any
    attention: Callable[..., Array] = jax.nn.dot_product_attention

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Tokens:
        """Return the tokens with both branches added."""
        norm = functools.partial(nn.LayerNorm, epsilon=self.epsilon, **self.precision)
        drop = functools.partial(StochasticDepth(self.stochastic_depth), train=train)
        attention = Attention(self.heads, self.precision, self.attention, name="attention")
        y = attention(norm(name="norm1")(x))
        x = x + drop(nn.Dropout(self.dropout, deterministic=not train)(y))
        y = Mlp(4 * x.shape[-1], self.dropout, self.precision, name="mlp")(
            norm(name="norm2")(x), train
        )
        return x + drop(nn.Dropout(self.dropout, deterministic=not train)(y))


class ViT(nn.Module):
    """Patches as tokens, a transformer over them, and a dense layer initialized to zero.

    Attributes:
        patch: side of a patch in pixels, such as `_16` in a name.
        width, depth, heads: of the transformer; the hidden width of an MLP is four times `width`.
        num_classes: the number of logits; 0 gives the features before the last layer.
        pool: input of the last layer: "token" is a class token, "mean" the mean of all patches.
        positions: "learned", for images of one size, or "sincos", fixed, for any size.
        dropout: for the output of each branch and the hidden layer in MLPs.
        stochastic_depth: the rate of the last block; that of the first is 0.
        epsilon: added to the variance in norms.
        remat: store only the input of each block for the gradient and recompute the rest: less
            memory, a third more work, the same numbers.
        dtype: computation dtype; norms and softmax sum in float32.
        param_dtype: of the parameters.
        attention: the attention function; a faster equivalent may be passed.
    """

    patch: int
    width: int
    depth: int
    heads: int
    num_classes: int = 1000
    pool: str = "token"
    positions: str = "learned"
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    epsilon: float = 1e-6
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    attention: Callable[..., Array] = jax.nn.dot_product_attention

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
        self._check(images.shape)
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = self._embed(images, precision)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for number, rate in enumerate(rising_rates(self.stochastic_depth, self.depth), start=1):
            settings = (self.heads, self.dropout, rate, self.epsilon, precision, self.attention)
            x = block(*settings, name=f"block{number}")(x, train)
        x = nn.LayerNorm(epsilon=self.epsilon, name="norm", **precision)(x)
        self.sow("intermediates", "tokens", x)
        x = x[:, 0] if self.pool == "token" else x.mean(1)
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        zeros = nn.initializers.zeros
        return nn.Dense(self.num_classes, kernel_init=zeros, name="head", **precision)(x)

    def _embed(self, images: Array, precision: dict[str, Any]) -> Tokens:
        """Return the patches as vectors with their positions, after the class token."""
        window = (self.patch, self.patch)
        x = nn.Conv(self.width, window, strides=window, padding="VALID", name="embed", **precision)(
            images
        )
        n, height, width, _ = x.shape
        x = x.reshape(n, height * width, self.width)
        tokens = height * width
        if self.pool == "token":
            token = self.param(
                "class_token", nn.initializers.zeros, (1, 1, self.width), self.param_dtype
            )
            x = jnp.concatenate([jnp.broadcast_to(token, (n, 1, self.width)).astype(x.dtype), x], 1)
            tokens += 1
        if self.positions == "learned":
            shape = (1, tokens, self.width)
            init = nn.initializers.normal(0.02)
            positions = self.param("positions", init, shape, self.param_dtype)
        else:  # the class token has no position
            fixed = jnp.asarray(sincos_positions(height, width, self.width))
            positions = jnp.pad(fixed, ((0, 0), (tokens - height * width, 0), (0, 0)))
        return x + jnp.broadcast_to(positions.astype(x.dtype), x.shape)

    def _check(self, shape: tuple[int, ...]) -> None:
        if self.pool not in POOLS:
            raise unknown("pool", self.pool, POOLS)
        if self.positions not in POSITIONS:
            raise unknown("positions", self.positions, POSITIONS)
        if shape[1] % self.patch or shape[2] % self.patch:
            raise UsageError(
                f"expected images of a multiple of {self.patch} pixels for patches of that "
                f"size, got {shape[1]}x{shape[2]}; try another --config.data.image_size"
            )


vit_ti = functools.partial(ViT, width=192, depth=12, heads=3)
vit_s = functools.partial(ViT, width=384, depth=12, heads=6)
vit_b = functools.partial(ViT, width=768, depth=12, heads=12)
vit_l = functools.partial(ViT, width=1024, depth=24, heads=16)

VITS = {
    f"vit_{size}{patch}": functools.partial(model, patch=patch)
    for size, model in {"ti": vit_ti, "s": vit_s, "b": vit_b, "l": vit_l}.items()
    for patch in (4, 8, 14, 16, 32)
}
"""All sizes with all patch sizes by name: vit_ti4 ... vit_l32."""
