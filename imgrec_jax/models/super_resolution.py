"""Networks that enlarge images: ESPCN, FSRCNN and EDSR.

All of them work at the low resolution and enlarge at the end. Images of one batch may differ in
size: with `valid`, the padding is zero before every convolution, as outside an image, so that the
output for an image does not depend on its padding.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from imgrec_jax.models.blocks.subpixel import SubpixelTranspose, pixel_shuffle

Images = Float[Array, "n h w c"]
Enlarged = Float[Array, "n i j c"]
Valid = Bool[Array, "n h w"]
he_normal = nn.initializers.he_normal()


class ESPCN(nn.Module):
    """ESPCN (Shi et al. 2016): three convolutions and a pixel shuffle.

    Attributes:
        scale: the factor of the enlargement.
        channels: of the images.
        widths: of the two hidden layers.
        dtype: computation dtype; parameters stay float32.
        conv: layer class; a faster equivalent may be passed.
    """

    scale: int = 3
    channels: int = 1
    widths: tuple[int, int] = (64, 32)
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, images: Images, *, valid: Valid | None = None, train: bool = False
    ) -> Enlarged:
        """Return the enlarged images."""
        del train
        x = images
        for number, (width, size) in enumerate(zip(self.widths, (5, 3), strict=True), start=1):
            x = self._conv(width, size, name=f"conv{number}")(masked(x, valid))
            x = nn.tanh(x)
        x = self._conv(self.channels * self.scale**2, 3, name="conv3")(masked(x, valid))
        return pixel_shuffle(x, self.scale)

    def _conv(self, width: int, size: int, name: str) -> Any:
        return self.conv(width, (size, size), kernel_init=he_normal, dtype=self.dtype, name=name)


class FSRCNN(nn.Module):
    """FSRCNN(d, s, m) (Dong et al. 2016): extract, shrink, map m times, expand, deconvolve.

    Attributes:
        scale: the factor of the enlargement.
        channels: of the images.
        width: d, of the features.
        shrink: s, of the mapping layers.
        depth: m, number of mapping layers.
        dtype: computation dtype; parameters stay float32.
        conv: layer class; a faster equivalent may be passed.
    """

    scale: int = 3
    channels: int = 1
    width: int = 56
    shrink: int = 12
    depth: int = 4
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, images: Images, *, valid: Valid | None = None, train: bool = False
    ) -> Enlarged:
        """Return the enlarged images."""
        del train
        layers = [
            ("extract", self.width, 5),
            ("shrink", self.shrink, 1),
            *[(f"map{number}", self.shrink, 3) for number in range(1, self.depth + 1)],
            ("expand", self.width, 1),
        ]
        x = images
        for name, width, size in layers:
            layer = self.conv(
                width, (size, size), kernel_init=he_normal, dtype=self.dtype, name=name
            )
            x = PReLU(name=f"{name}_prelu")(layer(masked(x, valid)))
        deconvolve = SubpixelTranspose(
            self.channels, 9, self.scale, dtype=self.dtype, conv=self.conv, name="deconvolve"
        )
        return deconvolve(masked(x, valid))


class EDSR(nn.Module):
    """EDSR (Lim et al. 2017) without batch norm, in its baseline size by default.

    Attributes:
        scale: the factor of the enlargement; 4 is two enlargements by 2.
        channels: of the images.
        width: of all features.
        depth: number of residual blocks.
        residual: factor of each block's branch; 0.1 steadies wide networks.
        dtype: computation dtype; parameters stay float32.
        conv: layer class; a faster equivalent may be passed.
    """

    scale: int = 3
    channels: int = 3
    width: int = 64
    depth: int = 16
    residual: float = 1.0
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv

    @nn.compact
    def __call__(
        self, images: Images, *, valid: Valid | None = None, train: bool = False
    ) -> Enlarged:
        """Return the enlarged images."""
        del train
        first = x = self._conv(self.width, "first")(masked(images - 0.5, valid))
        for number in range(1, self.depth + 1):
            branch = self._conv(self.width, f"block{number}_conv1")(masked(x, valid))
            branch = self._conv(self.width, f"block{number}_conv2")(masked(nn.relu(branch), valid))
            x = x + self.residual * branch
        x = first + self._conv(self.width, "body")(masked(x, valid))
        for number, factor in enumerate([2, 2] if self.scale == 4 else [self.scale], start=1):
            x = self._conv(self.width * factor**2, f"upscale{number}")(masked(x, valid))
            x = pixel_shuffle(x, factor)
            if valid is not None:
                valid = valid.repeat(factor, 1).repeat(factor, 2)
        return self._conv(self.channels, "last")(masked(x, valid)) + 0.5

    def _conv(self, width: int, name: str) -> Any:
        return self.conv(width, (3, 3), dtype=self.dtype, name=name)


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0) with a learned slope per channel (He et al. 2015)."""

    @nn.compact
    def __call__(self, x: Images) -> Images:
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, x * slope.astype(x.dtype).reshape(1, 1, 1, -1))


def masked(x: Images, valid: Valid | None) -> Images:
    """Return features that are zero outside the images, as convolutions pad them."""
    return x if valid is None else jnp.where(valid[..., None], x, 0)
