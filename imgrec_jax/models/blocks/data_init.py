"""Interface of modules whose initial parameters depend on training images."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class DataInit(Protocol):
    """What a Linen module offers whose initial parameters are made from training images.

    A new run calls it once behind `init`, unless it starts from other weights (`init_from`).

    Attributes:
        init_images: how many images it wants, 1 or more; it gets fewer where there are fewer.
    """

    init_images: int

    def init_from_images(self, params: Any, images: Float[Array, "n h w c"]) -> Any:
        """Return the parameters as training begins with them.

        Args:
            params: the collection "params" that `init` has drawn.
            images: training images, float32, normalised as the network sees them in training.
        """
        ...
