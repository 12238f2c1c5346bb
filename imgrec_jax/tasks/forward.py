"""Apply a network as a pure function of parameters, model state and a batch."""

from typing import Any, Protocol

from jaxtyping import Array

from imgrec_jax.core.task import Batch, PyTree


class Network(Protocol):
    """Anything with a pure `init` and `apply`, such as every Linen module."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Return the initial variables."""
        ...

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs, and with `mutable` also the updated variables."""
        ...


def initialise(module: Network, key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
    """Return initial parameters and model state; only the shape of `batch["image"]` matters."""
    variables = dict(module.init(key, batch["image"], train=False))
    return variables.pop("params"), variables


def apply_in_training(
    module: Network, params: PyTree, model_state: PyTree, batch: Batch, key: Array
) -> tuple[Any, PyTree]:
    """Return the outputs, with dropout by `key`, and the updated model state.

    Rows whose mask is false do not contribute to batch statistics.
    """
    outputs, new_model_state = module.apply(
        {"params": params, **model_state},
        batch["image"],
        train=True,
        mask=batch["mask"],
        rngs={"dropout": key},
        mutable=list(model_state),
    )
    return outputs, new_model_state


def apply(module: Network, params: PyTree, model_state: PyTree, batch: Batch) -> Any:
    """Return the outputs in evaluation mode."""
    return module.apply({"params": params, **model_state}, batch["image"], train=False)
