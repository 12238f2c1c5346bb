"""Interface of modules whose initial parameters depend on training images."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class DataInit(Protocol):
    """A Linen module whose initial parameters are computed from training images.

    A new run calls it once after `init`, unless it starts from other weights (`init_from`).

    Attributes:
        init_images: requested number of images, 1 or more; it gets fewer if there are fewer.
    """

    init_images: int

    def init_from_images(self, params: Any, images: Float[Array, "n h w c"]) -> Any:
        """Return the parameters at the start of training.

        Args:
            params: the collection "params" from `init`.
            images: training images, float32, normalised as the network's inputs in training.
        """
        ...
