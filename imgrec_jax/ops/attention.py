"""Choose the fastest implementation of attention for a device."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

Attention = Callable[[Array, Array, Array], Array]
"""`(query, key, value) -> gathered`, all of them [n, tokens, heads, size]."""

_LEAST_CAPABILITY = 8.0  # of an NVIDIA GPU: cuDNN's flash attention came with Ampere


def attention_on(device: Any, dtype: Any) -> Attention:
    """Return JAX's attention, or cuDNN's flash attention on a GPU that has it, in 16 bits.

    Flash attention never stores the scores of all pairs of tokens (Dao et al. 2022,
    "FlashAttention"); the results are equal up to rounding.
    """
    capability = str(getattr(device, "compute_capability", ""))  # "9.0"; of AMD's "gfx90a"
    number = capability.replace(".", "", 1).isdecimal()
    short = dtype in (jnp.bfloat16, jnp.float16)
    if device.platform == "gpu" and number and float(capability) >= _LEAST_CAPABILITY and short:
        return functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
    return jax.nn.dot_product_attention
