"""Augmentations that interpolate between pixels: scaling, cropping, rotation."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from imgrec_jax.augment.affine import Matrices, carry, inside, sources, stretch
from imgrec_jax.augment.augmentation import Augmentation, Image, Sample
from imgrec_jax.augment.random_window import check_window, draw_window
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import PIXELS, of_kind
from imgrec_jax.core.ranges import ABOVE_ZERO_TO_ONE, ASPECT, Range

ZOOM = Range(float, 0.01, 100)


def scale(low: Annotated[float, ZOOM] = 0.8, high: Annotated[float, ZOOM] = 1.2) -> Augmentation:
    """Zoom about the centre by a factor uniform in low .. high; the outside is black.

    (Simard et al. 2003, "Best Practices for Convolutional Neural Networks", section 2.)
    """
    if low > high:
        raise UsageError(
            f"expected scale(low, high) with low <= high, got {low}, {high}; try scale(0.8, 1.2)"
        )

    def zoom(factor: Float[Array, ""], image: Image) -> Image:
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

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        height, width = sample["image"].shape[1:3]
        factor = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32, low, high))(keys)
        step = 1.0 / factor
        left, top = (1.0 - step) * (width / 2.0), (1.0 - step) * (height / 2.0)
        images = {name: jax.vmap(zoom)(factor, x) for name, x in of_kind(sample, PIXELS).items()}
        return {**carry(sample, stretch(left, top, step, step)), **images}

    return apply


def random_resized_crop(
    low: Annotated[float, ABOVE_ZERO_TO_ONE] = 0.08,
    high: Annotated[float, ABOVE_ZERO_TO_ONE] = 1.0,
    aspect: Annotated[float, ASPECT] = 4 / 3,
) -> Augmentation:
    """Crop a window and resize it to the whole image.

    The area is uniform in low .. high, the aspect log-uniform in 1 / aspect .. aspect (Szegedy et
    al. 2015, "Going Deeper with Convolutions", section 6), relative to the image's own: it is the
    distortion of the content. Interpolates linearly and never reads beyond the edge.
    """
    check_window("random_resized_crop", low, high)

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        height, width = sample["image"].shape[1:3]
        windows = jax.vmap(lambda key: draw_window(key, low, high, aspect))(keys)
        top, left, part_h, part_w = windows.T
        backward = stretch(left * width, top * height, part_w, part_h)
        images = {n: _stretched(x, windows) for n, x in of_kind(sample, PIXELS).items()}
        return {**carry(sample, backward), **images}

    return apply


def rotation(degrees: Annotated[float, Range(float, 0, 360)] = 15.0) -> Augmentation:
    """Rotate about the centre by an angle uniform in -degrees .. degrees; the outside is black.

    (Simard et al. 2003, "Best Practices for Convolutional Neural Networks", section 2.)
    """
    largest = math.radians(degrees)

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        size = sample["image"].shape[1:3]
        angles = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32, -largest, largest))(
            keys
        )
        return warp(sample, jax.vmap(lambda angle: turn(angle, size))(angles))

    return apply


def turn(angle: Float[Array, ""], size: tuple[int, ...]) -> Float[Array, "2 3"]:
    """Return the backward matrix of a rotation about the centre, counter-clockwise in radians."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    y, x = size[0] / 2.0, size[1] / 2.0
    return jnp.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]).reshape(
        2, 3
    )


def warp(sample: Sample, backward: Matrices, fill: float = 0.0) -> Sample:
    """Move a sample by backward matrices (see `carry`), interpolating linearly.

    Positions outside the image are filled, except within half a pixel of its edge, which read
    the edge pixel, as in Pillow's BILINEAR.
    """
    width = sample["image"].shape[2]

    def moved(image: Array) -> Array:
        # A field of k times the image's size moves k times as far.
        k = image.shape[2] / width
        shift = jnp.asarray([[1.0, 1.0, k], [1.0, 1.0, k]], jnp.float32)
        x, y = sources(backward * shift[None], *image.shape[1:3])
        warped = jax.vmap(_interpolate)(image, x, y)
        return jnp.where(inside(x, y)[..., None], warped, fill)

    images = {name: moved(jnp.asarray(x)) for name, x in of_kind(sample, PIXELS).items()}
    return {**carry(sample, backward), **images}


def _stretched(image: Float[Array, "n h w c"], windows: Float[Array, "n 4"]) -> Array:
    """Return the windows (top, left, height, width, relative) resized to the whole image.

    Uses two matmuls: on CPU they are faster than a gather, and run on all cores.
    """
    height, width = image.shape[1:3]
    top, left, part_h, part_w = windows.T
    rows = jax.vmap(lambda start, part: _linear(start, part, height))(top, part_h)
    columns = jax.vmap(lambda start, part: _linear(start, part, width))(left, part_w)
    exact = jax.lax.Precision.HIGHEST
    image = jnp.einsum("nyh,nhwc->nywc", rows, image, precision=exact)
    image = jnp.einsum("nxw,nywc->nyxc", columns, image, precision=exact)
    return jnp.clip(image, 0.0, 1.0)


def _interpolate(image: Image, x: Float[Array, "h w"], y: Float[Array, "h w"]) -> Image:
    height, width = image.shape[:2]
    left, top = jnp.floor(x - 0.5), jnp.floor(y - 0.5)
    across, down = (x - 0.5 - left)[..., None], (y - 0.5 - top)[..., None]
    column, row = left.astype(jnp.int32), top.astype(jnp.int32)
    columns = [jnp.clip(column + k, 0, width - 1) for k in (0, 1)]
    rows = [jnp.clip(row + k, 0, height - 1) for k in (0, 1)]
    upper, lower = (
        image[r, columns[0]] * (1.0 - across) + image[r, columns[1]] * across for r in rows
    )
    return jnp.clip(upper * (1.0 - down) + lower * down, 0.0, 1.0)


def _linear(start: Array, part: Array, size: int) -> Float[Array, "size size"]:
    """Return weights [new, old] that stretch `part` of an axis from `start` over all of it."""
    pixels = jnp.arange(size, dtype=jnp.float32)
    place = jnp.clip(start * size + (pixels + 0.5) * part - 0.5, 0.0, size - 1.0)
    return jnp.maximum(0.0, 1.0 - jnp.abs(place[:, None] - pixels[None, :]))
