"""Pixel-value operations on one image that match Pillow on 8-bit images.

Images are float32[h, w, c] in 0 .. 1. On images whose values are whole 255ths the results
equal Pillow's within one grey level (Pillow truncates where these keep the fraction). A factor of
1 leaves an image exactly unchanged. Colour operations take the `axis` of the channels: on CPU
channels-first (axis 0) is faster than channels-last.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from imgrec_jax.augment.augmentation import Image
from imgrec_jax.core.errors import UsageError

Number = Float[Array, ""]
# ITU-R 601-2 in 65,536ths, as in Pillow: sums of products with levels are exact.
_RED, _GREEN, _BLUE = 19595.0, 38470.0, 7471.0


def brightness(image: Image, factor: Number) -> Image:
    """Blend with black: 0 is black, above 1 is brighter."""
    return jnp.clip(factor * image, 0.0, 1.0)


def contrast(image: Image, factor: Number, axis: int = -1) -> Image:
    """Blend with the image's mean grey: 0 is that grey alone, above 1 has more contrast."""
    # Whole levels as integers: the sum is exact, and XLA's loop over floats is 50 times slower.
    levels = _levels(luminance(image, axis)).astype(jnp.int32)
    mean = levels.sum(dtype=jnp.int32).astype(jnp.float32) / float(levels.size)
    return _blend(jnp.floor(mean + 0.5) / 255.0, image, factor)


def saturation(image: Image, factor: Number, axis: int = -1) -> Image:
    """Blend with the grey image: 0 is grey, above 1 is more colourful."""
    return _blend(jnp.expand_dims(luminance(image, axis), axis), image, factor)


def sharpness(image: Image, factor: Number) -> Image:
    """Blend with the smoothed image: 0 is smoothed, above 1 is sharpened.

    The outermost pixels are not smoothed.
    """
    height, width = image.shape[:2]
    if min(height, width) < 3:
        return image
    values = _levels(image)
    around = [values[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    smooth = jnp.floor((sum(around) + 4.0 * around[4]) / 13.0 + 0.5) / 255.0
    return _blend(image.at[1:-1, 1:-1].set(smooth), image, factor)


def posterize(image: Image, bits: Int[Array, ""]) -> Image:
    """Set the lowest `bits` of each value to zero."""
    values = _levels(image).astype(jnp.int32)
    coarse = jnp.left_shift(jnp.right_shift(values, bits), bits)
    return jnp.where(bits == 0, image, coarse.astype(jnp.float32) / 255.0)


def solarize(image: Image, threshold: Number) -> Image:
    """Invert values at or above a threshold (a level: 0 .. 256)."""
    return jnp.where(_levels(image) < threshold, image, 1.0 - image)


def autocontrast(image: Image) -> Image:
    """Stretch each channel to 0 .. 1; a constant channel stays unchanged."""
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    spread = jnp.where(high > low, high - low, 1.0)
    return jnp.where(high > low, jnp.clip((image - low) / spread, 0.0, 1.0), image)


def equalize(image: Image) -> Image:
    """Equalize the histogram of each channel; a channel with few values stays unchanged."""
    values = _levels(image).astype(jnp.int32)
    channel = jnp.arange(image.shape[-1])
    counts = jnp.zeros((image.shape[-1], 256), jnp.int32)
    counts = counts.at[channel[None, None, :], values].add(1)
    brightest = counts[channel, values.max((0, 1))]
    step = (values.shape[0] * values.shape[1] - brightest) // 255
    darker = jnp.cumsum(counts, axis=1, dtype=jnp.int32) - counts
    table = (step // 2)[:, None] + darker
    table = jnp.minimum(table // jnp.maximum(step, 1)[:, None], 255)
    flat = table[channel[None, None, :], values].astype(jnp.float32) / 255.0
    return jnp.where((step > 0)[None, None, :], flat, image)


def turn_hue(image: Image, turn: Number, axis: int = -1) -> Image:
    """Rotate the hue on the colour circle: 0.5 is the opposite colour, 1 a full turn."""
    if image.shape[axis] == 1:
        return image
    red, green, blue = _colours(image, axis)
    high, low = image.max(axis), image.min(axis)
    spread = high - low
    safe = jnp.where(spread > 0, spread, 1.0)
    hue = jnp.where(  # in sixths of the circle, red being 0
        high == red,
        (green - blue) / safe,
        jnp.where(high == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    places = [start + hue + 6.0 * turn for start in (5.0, 3.0, 1.0)]
    places = [p - 6.0 * jnp.floor(p / 6.0) for p in places]  # `%` takes ten times as long on CPU
    turned = [high - spread * jnp.clip(jnp.minimum(p, 4.0 - p), 0.0, 1.0) for p in places]
    return jnp.where(turn == 0, image, jnp.clip(jnp.stack(turned, axis), 0.0, 1.0))


def luminance(image: Image, axis: int = -1) -> Float[Array, "h w"]:
    """Return the grey image, rounded to whole 255ths; an image of one channel is already grey."""
    if image.shape[axis] == 1:
        return image.squeeze(axis)
    red, green, blue = _colours(_levels(image), axis)
    return jnp.floor((_RED * red + _GREEN * green + _BLUE * blue) / 65536.0 + 0.5) / 255.0


def _colours(image: Image, axis: int) -> list[Array]:
    if image.shape[axis] != 3:
        raise UsageError(
            f"expected grey or colour images to change colours, got {image.shape[axis]} "
            "channels; try an augment without color_jitter, grayscale, rand_augment and "
            "trivial_augment"
        )
    return list(jnp.moveaxis(image, axis, 0))


def _levels(image: Image) -> Image:
    """Return the nearest of the 256 levels, 0.0 .. 255.0."""
    return jnp.round(255.0 * image)


def _blend(other: Array, image: Image, factor: Number) -> Image:
    other = jnp.broadcast_to(other, image.shape)
    return jnp.clip(factor * image + (1.0 - factor) * other, 0.0, 1.0)
