"""Networks for fast training on CIFAR-10.

Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498.

Parameters and multiply-adds per image, at 32x32 with 10 classes:

    airbench94     1,972,792     118 M
    airbench96     9,918,776     452 M
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.norm import BatchNorm
from imgrec_jax.ops.whitening import whitening_kernel

_WHITEN = "whiten"  # layer whose kernel is computed from training images; the recipe freezes it

_torch_default = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Airbench(nn.Module):
    """A whitening layer, then three blocks of convolutions with pooling after the first of each.

    Attributes:
        num_classes: the number of logits; 0 gives the pooled features.
        widths: channels of the blocks.
        depth: convolutions per block; from 3 on, a shortcut bypasses all but the first.
        momentum: fraction of the old running statistics kept at each step.
        logit_scale: factor of the logits.
        remat: store only the input of each block for the gradient and recompute the rest.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: computation dtype; batch statistics and logits are always float32.
        param_dtype: of the kernels; norms stay float32.
        conv, max_pool: layer classes; faster equivalents may be passed.
    """

    num_classes: int = 10
    widths: tuple[int, ...] = (64, 256, 256)
    depth: int = 2
    momentum: float = 0.6
    logit_scale: float = 1 / 9
    remat: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    init_images: ClassVar[int] = 5_000

    @nn.nowrap
    def init_from_images(self, params: Any, images: Float[Array, "n h w c"]) -> Any:
        """Return the parameters with a first layer that whitens patches of the given images.

        (Jordan 2024, arXiv:2404.00498, section 3.1, with 5,000 training images.)
        """
        return {**params, _WHITEN: {**params[_WHITEN], "kernel": whitening_kernel(images)}}

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w c"],
        *,
        train: bool = False,
        mask: Bool[Array, " n"] | None = None,
    ) -> Float[Array, "n k"]:
        """Return logits, or features. Rows with `mask` false do not contribute to statistics."""
        least = 1 + 2 ** len(self.widths)
        if min(images.shape[1:3]) < least:
            raise UsageError(
                f"expected images of {least}x{least} or more for {len(self.widths)} poolings, "
                f"got {images.shape[1:3]}; try a larger --config.data.image_size"
            )
        precision = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(self.conv, **precision)
        norm = functools.partial(
            BatchNorm,
            momentum=self.momentum,
            epsilon=1e-12,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )

        def layers(net: Any, x: Array, width: int, name: str) -> Array:
            shortcut = x
            for number in range(1, net.depth + 1):
                layer = f"{name}_{number}"
                x = conv(width, (3, 3), use_bias=False, kernel_init=_passing_on, name=layer)(x)
                if number == 1:
                    x = net.max_pool(x, (2, 2), strides=(2, 2))
                x = norm(name=f"{layer}_norm")(x, train=train, mask=mask)
                if 2 < number == net.depth:
                    x = x + shortcut
                x = nn.gelu(x, approximate=False)
                shortcut = x if number == 1 else shortcut
            return x

        block: Any = nn.remat(layers, static_argnums=(2, 3)) if self.remat else layers
        channels = images.shape[-1]
        x = conv(
            8 * channels,
            (2, 2),
            padding="VALID",
            kernel_init=_orthogonal,
            name=_WHITEN,
        )(images)
        x = nn.gelu(x, approximate=False)
        for number, width in enumerate(self.widths, start=1):
            x = block(self, x, width, f"block{number}")
            self.sow("intermediates", f"block{number}", x)
        x = x.max((1, 2))
        self.sow("intermediates", "features", x)
        if self.num_classes == 0:
            return x
        head = nn.Dense(
            self.num_classes,
            use_bias=False,
            dtype=jnp.float32,
            param_dtype=self.param_dtype,
            kernel_init=_torch_default,
            name="head",
        )
        return head(x) * self.logit_scale


def _orthogonal(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return nn.initializers.orthogonal()(key, shape).astype(dtype)  # QR does not support 16 bits


def _passing_on(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Return a kernel [i, j, c, d] whose first c outputs copy the inputs; the others are random."""
    kernel = _torch_default(key, shape, dtype)
    same = min(shape[2:])
    middle = jnp.zeros(shape[:2], dtype).at[shape[0] // 2, shape[1] // 2].set(1)
    identity = jnp.einsum("ij,cd->ijcd", middle, jnp.eye(same, dtype=dtype))
    return jax.lax.dynamic_update_slice(
        kernel, jnp.pad(identity, ((0, 0), (0, 0), (0, shape[2] - same), (0, 0))), (0, 0, 0, 0)
    )


airbench94 = Airbench
airbench96 = functools.partial(Airbench, widths=(128, 384, 512), depth=3, momentum=0.9)
