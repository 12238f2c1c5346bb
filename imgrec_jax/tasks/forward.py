"""Apply a network as a pure function of parameters, model state and a batch."""

from typing import Any, Protocol

from jaxtyping import Array

from imgrec_jax.core.task import Batch, PyTree


class Network(Protocol):
    """What has a pure `init` and `apply`, as every Linen module does."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """Return the first variables."""
        ...

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs, and with `mutable` also the variables that have changed."""
        ...


def initialise(module: Network, key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
    """Return the first parameters and model state; only the shapes of `batch["image"]` count."""
    variables = dict(module.init(key, batch["image"], train=False))
    return variables.pop("params"), variables


def apply_in_training(
    module: Network, params: PyTree, model_state: PyTree, batch: Batch, key: Array
) -> tuple[Any, PyTree]:
    """Return the outputs, with dropout by `key`, and the model state that the batch leaves.

    Rows whose mask is false take no part in batch statistics.
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
    """Return the outputs as they are scored."""
    return module.apply({"params": params, **model_state}, batch["image"], train=False)
