"""The training state: everything that training changes."""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Int

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import PyTree


@flax.struct.dataclass
class TrainState:
    """Data only: no functions, no random key, no device axis.

    Attributes:
        step: int32[], the number of optimizer steps done.
        params: the trained parameters.
        model_state: batch statistics and other variables that are not trained.
        opt_state: the optimizer's own state.
        ema: the moving average of `params` and `model_state`, as a dict of the two; {} if none
            is kept. Averaged weights have their own averaged statistics.
    """

    step: Int[Array, ""]
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    ema: PyTree

    def weights(self, which: str = "") -> tuple[PyTree, PyTree]:
        """Return the params and model_state for evaluation.

        Args:
            which: "params", "ema", or "" for the average if one is kept.

        Raises:
            UsageError: the name is unknown, or no average is kept.
        """
        if which not in {"", "params", "ema"} or (which == "ema" and not self.ema):
            kept = "'params' or 'ema'" if self.ema else "'params': no average is kept"
            raise UsageError(f"expected weights to be {kept}, got '{which}'; try weights='params'")
        if self.ema and which != "params":
            return self.ema["params"], self.ema["model_state"]
        return self.params, self.model_state


def create(params: PyTree, model_state: PyTree, opt_state: PyTree, *, ema: bool) -> TrainState:
    """Return the state before the first step; its average equals the parameters."""
    average = {"params": params, "model_state": model_state} if ema else {}
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state, average)
