"""A small convolutional network."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError


class ConvNet(nn.Module):
    """Two blocks of convolution, ReLU and pooling, then two dense layers.

    With 32x32x3 and 10 classes: 545,098 parameters and 6,128,896 multiply-adds per image.

    Attributes:
        num_classes: the number of logits; 0 gives the features before the last layer.
        width: channels of the first convolution; the second has twice as many.
        hidden: units of the dense layer.
        kernel_init, bias_init: initialisers of all layers.
        remat: store only the input of each convolution for the gradient and recompute the rest.
        dtype: computation dtype.
        param_dtype: of the parameters.
        conv, max_pool: layer classes; faster equivalents may be passed.
    """

    num_classes: int = 10
    width: int = 32
    hidden: int = 128
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Array] = nn.initializers.zeros
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n k"]:
        """Return logits. `train` and `mask` have no effect: no layer mixes rows."""
        del train, mask
        if min(images.shape[1:3]) < 4:
            raise UsageError(
                f"expected images of 4x4 or more for two poolings, got {images.shape[1:3]}; "
                "try a larger --config.data.image_size"
            )
        layer: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        layer |= {"kernel_init": self.kernel_init, "bias_init": self.bias_init}

        def convolve(net: Any, x: Array, features: int, name: str) -> Array:
            x = net.conv(features, (3, 3), name=name, **layer)(x)
            x = nn.relu(x)
            return net.max_pool(x, (2, 2), strides=(2, 2))

        block: Any = nn.remat(convolve, static_argnums=(2, 3)) if self.remat else convolve
        x = block(self, images, self.width, "conv1")
        x = block(self, x, 2 * self.width, "conv2")
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(self.hidden, name="hidden", **layer)(x))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        return nn.Dense(self.num_classes, name="head", **layer)(x)
