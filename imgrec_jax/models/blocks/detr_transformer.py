"""Transformer layers of DETR: post-norm, with positions added to queries and keys.

Vaswani et al. 2017, "Attention Is All You Need", as Carion et al. 2020 use it (appendix A.3).
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Tokens = Float[Array, "n _ c"]
Positions = Float[Array, "#n _ c"]
Valid = Bool[Array, "n _"] | None

EPSILON = 1e-5
"""Epsilon of the norms, as in PyTorch."""
# PyTorch initializes query, key and value as one matrix that is three times as wide.
_A_THIRD = nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")
_XAVIER = nn.initializers.xavier_uniform()


class Attention(nn.Module):
    """Multi-head attention with dropout of attention weights; softmax in float32.

    Attributes:
        heads: number of heads that share the channels.
        dropout: dropout rate of the attention weights, in training.
        dtype: computation dtype.
    """

    heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, queries: Tokens, keys: Tokens, values: Tokens, *, valid: Valid, train: bool
    ) -> Tokens:
        """Return the attended values for each query; keys with `valid` false are masked."""
        width = queries.shape[-1]
        dense = functools.partial(nn.Dense, width, dtype=self.dtype)
        query, key, value = (
            dense(name=name, kernel_init=_A_THIRD)(x).reshape(*x.shape[:2], self.heads, -1)
            for name, x in (("query", queries), ("key", keys), ("value", values))
        )
        scores = jnp.einsum("nqhc,nkhc->nhqk", query, key, preferred_element_type=jnp.float32)
        scores = scores / math.sqrt(width // self.heads)
        if valid is not None:
            scores = jnp.where(valid[:, None, None, :], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores).astype(self.dtype)
        weights = nn.Dropout(self.dropout, deterministic=not train)(weights)
        gathered = jnp.einsum("nhqk,nkhc->nqhc", weights, value).reshape(queries.shape)
        return dense(name="out", kernel_init=_XAVIER)(gathered)


class Layer(nn.Module):
    """Self-attention, cross-attention to a memory if there is one, and an MLP.

    Each branch is added to the tokens, followed by a norm.

    Attributes:
        heads: number of attention heads.
        hidden: channels inside the MLP.
        dropout: rate for attention weights, branches and the hidden layer of the MLP.
        dtype: computation dtype.
    """

    heads: int
    hidden: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: Tokens,
        positions: Positions,
        memory: Tokens | None = None,
        memory_positions: Positions | None = None,
        *,
        valid: Valid = None,
        train: bool = False,
    ) -> Tokens:
        """Return the tokens after the layer.

        Args:
            x: the tokens: of the image without a memory, of the queries with one.
            positions: of the tokens, [1 or n, t, c].
            memory: the tokens of the image.
            memory_positions: of the memory tokens.
            valid: false for tokens of the image that are padding.
            train: whether to apply dropout.
        """
        drop = nn.Dropout(self.dropout, deterministic=not train)
        norm = functools.partial(nn.LayerNorm, epsilon=EPSILON, dtype=self.dtype)
        dense = functools.partial(nn.Dense, dtype=self.dtype, kernel_init=_XAVIER)
        attend = functools.partial(Attention, self.heads, self.dropout, self.dtype)

        placed = x + positions
        own = valid if memory is None else None
        gathered = attend(name="attention")(placed, placed, x, valid=own, train=train)
        x = norm(name="norm1")(x + drop(gathered))
        if memory is not None:
            assert memory_positions is not None
            keys = memory + memory_positions
            gathered = attend(name="cross")(x + positions, keys, memory, valid=valid, train=train)
            x = norm(name="cross_norm")(x + drop(gathered))
        y = drop(nn.relu(dense(self.hidden, name="expand")(x)))
        return norm(name="norm2")(x + drop(dense(x.shape[-1], name="project")(y)))
