"""FCOS, a dense anchor-free detector (Tian et al. 2019)."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.models.blocks.fpn import FeaturePyramid
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder

STRIDES = (8, 16, 32)
_PRIOR = 0.01  # initial class probability; otherwise the many empty locations dominate the loss
_LARGEST = 8.0  # largest exponent of a distance in strides: no box is 3,000 strides wide


class Head(nn.Module):
    """Prediction head for the locations of a level; all levels share one head.

    Attributes:
        num_classes: number of object classes.
        depth: 3x3 convolutions of each of the two towers.
        width: channels of the towers.
        dtype: computation dtype of the towers.
        conv: layer class.
    """

    num_classes: int
    depth: int
    width: int
    dtype: Any
    conv: Callable[..., Any]

    def setup(self) -> None:
        """Create the layers, which all levels share."""
        normal = nn.initializers.normal(0.01)
        layer = functools.partial(self.conv, kernel_size=(3, 3), dtype=self.dtype)
        tower = functools.partial(layer, self.width, use_bias=False)
        # GroupNorm, since batch statistics of small levels would come from few locations.
        norm = functools.partial(nn.GroupNorm, num_groups=math.gcd(8, self.width), dtype=self.dtype)
        for kind in ("class", "box"):
            setattr(self, f"{kind}_tower", [tower() for _ in range(self.depth)])
            setattr(self, f"{kind}_norm", [norm() for _ in range(self.depth)])
        bias = nn.initializers.constant(-math.log((1 - _PRIOR) / _PRIOR))
        self.logits = layer(self.num_classes, kernel_init=normal, bias_init=bias)
        self.distances = layer(4, kernel_init=normal)
        self.quality = layer(1, kernel_init=normal)

    def __call__(self, x: Float[Array, "n h w c"]) -> tuple[Array, Array, Array]:
        """Return class logits, distances (as logarithms) and quality logits, [n, h·w, .]."""
        class_features, box_features = x, x
        for conv, norm in zip(self.class_tower, self.class_norm, strict=True):  # pyright: ignore
            class_features = nn.relu(norm(conv(class_features)))
        for conv, norm in zip(self.box_tower, self.box_norm, strict=True):  # pyright: ignore
            box_features = nn.relu(norm(conv(box_features)))
        parts = (
            self.logits(class_features),
            self.distances(box_features),
            self.quality(box_features),
        )
        logits, distances, quality = (
            part.astype(jnp.float32).reshape(len(x), -1, part.shape[-1]) for part in parts
        )
        return logits, distances, quality


class FCOS(nn.Module):
    """An encoder, a feature pyramid at strides 8, 16 and 32, and a head shared by all levels.

    Attributes:
        num_classes: number of object classes.
        encoder: module that returns a list of features from fine to coarse, of which the last
            three are at 1/8, 1/16 and 1/32; called as `encoder(images, train=..., mask=...)`.
        width: channels of pyramid and head.
        depth: convolutions of each of the head's two towers.
        axis_name: the mapped axis over which batch statistics are added, or None.
        dtype: computation dtype; outputs are always float32.
        conv, max_pool: layer classes; faster equivalents may be passed.
    """

    num_classes: int = 80
    encoder: nn.Module = PlainEncoder(width=16, stride=2)
    width: int = 64
    depth: int = 2
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv: Callable[..., Any] = nn.Conv
    max_pool: Callable[..., Array] = nn.max_pool

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between the locations of each level, finest first."""
        return STRIDES

    @nn.compact
    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False, mask: Any = None
    ) -> dict[str, Float[Array, "n l _"]]:
        """Return predictions at the l locations of all levels, finest first, row by row.

        These are `logits` [n, l, k] of the classes, `distances` [n, l, 4] in pixels from the
        location to the left, top, right and bottom side of its box (above 0), and `quality`
        [n, l, 1], logits of the overlap of the box with the true one.
        """
        if min(images.shape[1:3]) < STRIDES[-1]:
            raise UsageError(
                f"expected images of 32x32 or more for detection, got "
                f"{images.shape[1]}x{images.shape[2]}; try a larger --config.data.image_shape"
            )
        features = self.encoder(images, train=train, mask=mask)  # pyright: ignore[reportCallIssue]
        levels = features[-len(STRIDES) :]
        sizes = [level.shape[1:3] for level in levels]
        expected = [tuple(-(-size // s) for size in images.shape[1:3]) for s in STRIDES]
        if sizes != expected:
            raise UsageError(
                f"expected an encoder that ends with features of {expected}, got {sizes}; "
                "try --config.model.fcos.encoder='plain(width=16, stride=2)' or resnet50"
            )
        pyramid = FeaturePyramid(self.width, self.dtype, self.conv, name="pyramid")
        head = Head(self.num_classes, self.depth, self.width, self.dtype, self.conv, name="head")
        scale = self.param("scale", nn.initializers.ones, (len(STRIDES),), jnp.float32)
        predictions: list[tuple[Array, Array, Array]] = []
        for number, level in enumerate(pyramid(levels)):
            logits, logarithms, quality = head(level)
            # Levels handle boxes of different sizes, so each has its own factor (section 3.2).
            distances = jnp.exp(jnp.minimum(logarithms * scale[number], _LARGEST))
            predictions.append((logits, distances * STRIDES[number], quality))
        logits, distances, quality = (
            jnp.concatenate(parts, axis=1) for parts in zip(*predictions, strict=True)
        )
        return {"logits": logits, "distances": distances, "quality": quality}
