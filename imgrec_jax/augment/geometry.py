"""Augmentations that move pixels. Each is a factory: settings -> `(keys, images) -> images`.

Pictures are float32[n, h, w, c] in 0 .. 1 and keep shape, dtype and range; `keys` holds one
random key per picture, so that what happens to a picture does not depend on its neighbours.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from imgrec_jax.core.errors import UsageError

Images = Float[Array, "n h w c"]
Augmentation = Callable[[Key[Array, " n"], Images], Images]


def flip(probability: float = 0.5) -> Augmentation:
    """Mirror left and right."""
    if not 0 <= probability <= 1:
        raise UsageError(f"expected flip(probability in 0 .. 1), got {probability}; try flip(0.5)")

    def apply(keys: Key[Array, " n"], images: Images) -> Images:
        mirrored = jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)
        return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)

    return apply


def pad_crop(pad: int = 4) -> Augmentation:
    """Pad by reflection on all sides, then cut the original size out at a random place.

    The edge pixel is not repeated, as in torch's and numpy's "reflect". (He et al. 2015, "Deep
    Residual Learning", section 4.2, pad with zeros.) No padded picture is built: the crop
    reads its rows and columns through reflected indices.
    """
    if pad < 0:
        raise UsageError(f"expected pad_crop(pad=0 or more), got pad={pad}; try pad=4")

    def apply(keys: Key[Array, " n"], images: Images) -> Images:
        height, width = images.shape[1:3]
        shifts = jax.vmap(lambda key: jax.random.randint(key, (2,), -pad, pad + 1))(keys)
        rows = _reflect(jnp.arange(height)[None] + shifts[:, :1], height)
        columns = _reflect(jnp.arange(width)[None] + shifts[:, 1:], width)
        return jax.vmap(lambda image, row, column: image[row][:, column])(images, rows, columns)

    return apply


def scale(low: float = 0.8, high: float = 1.2) -> Augmentation:
    """Zoom about the centre by a factor drawn evenly from low .. high; the outside is black."""
    if not 0 < low <= high:
        raise UsageError(f"expected scale(low, high) with 0 < low <= high, got {low}, {high}")

    def zoom(key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        factor = jax.random.uniform(key, (), jnp.float32, low, high)
        size = jnp.asarray(image.shape[:2], jnp.float32)
        zoomed = jax.image.scale_and_translate(
            image,
            image.shape,
            (0, 1),
            jnp.stack([factor, factor]),
            (1.0 - factor) * size / 2.0,
            method="linear",
            antialias=True,
        )
        return jnp.where(factor == 1.0, image, zoomed)

    def apply(keys: Key[Array, " n"], images: Images) -> Images:
        return jax.vmap(zoom)(keys, images)

    return apply


def _reflect(index: Int[Array, "n s"], size: int) -> Int[Array, "n s"]:
    """Fold indices outside 0 .. size - 1 back at the edges, as often as it takes."""
    if size == 1:
        return jnp.zeros_like(index)
    period = 2 * (size - 1)
    index = jnp.abs(index) % period
    return jnp.minimum(index, period - index)
