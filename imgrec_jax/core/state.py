"""What training changes, and nothing else."""

from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Int

PyTree = Any


@flax.struct.dataclass
class TrainState:
    """Data only: no functions, no random key, no device axis.

    Attributes:
        step: int32[], the number of optimizer steps done.
        params: the trained parameters.
        model_state: batch statistics and other variables that are not trained.
        opt_state: the optimizer's own state.
    """

    step: Int[Array, ""]
    params: PyTree
    model_state: PyTree
    opt_state: PyTree


def create(params: PyTree, model_state: PyTree, opt_state: PyTree) -> TrainState:
    """Return the state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state)
