"""RandAugment and TrivialAugment: randomly drawn operations with almost nothing to tune.

Both draw uniformly from the same fourteen operations. Each layer computes one warp and one pass
over the values, not fourteen: geometric operations differ only in their matrix.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from imgrec_jax.augment import pixel_ops
from imgrec_jax.augment.augmentation import Augmentation, Image, Sample
from imgrec_jax.augment.warp import turn, warp
from imgrec_jax.core.barriers import materialize
from imgrec_jax.core.ranges import Range, whole

OPERATIONS = (
    "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "identity",
    "brightness", "color", "contrast", "sharpness", "posterize", "solarize",
    "autocontrast", "equalize",
)  # fmt: skip
"""Geometric operations first, then those that change values."""

LAYERS = whole(0, 20)
MAGNITUDE = Range(float, 0, 30)
_IDENTITY = OPERATIONS.index("identity")
_GREY = 0.5  # fills areas from outside the image, as in the code of AutoAugment


@dataclass(frozen=True)
class Reach:
    """The effect of each operation at strength 1.

    Attributes:
        shear: pixels across per pixel down.
        translate: in pixels, or, with `by_size`, as a fraction of the image.
        by_size: see `translate`.
        rotate: degrees.
        enhance: distance of the factors of brightness, color, contrast, sharpness from 1.
        bits: number of the eight bits that posterize sets to zero.
    """

    shear: float
    translate: float
    by_size: bool
    rotate: float
    enhance: float
    bits: int


RAND_AUGMENT = Reach(0.3, 0.45, True, 30.0, 0.9, 4)
TRIVIAL_AUGMENT = Reach(0.99, 32.0, False, 135.0, 0.99, 6)


def rand_augment(
    n: Annotated[int, LAYERS] = 2, m: Annotated[float, MAGNITUDE] = 9.0
) -> Augmentation:
    """Apply `n` operations of magnitude `m` in sequence.

    A magnitude of 10 is the full strength of AutoAugment's ranges; operations that have a
    direction use either (Cubuk et al. 2019, "RandAugment", section 3). Posterize and solarize
    grow with the magnitude, and factors are 1 +- 0.09 m. So at magnitude 0 only autocontrast and
    equalize have an effect, whereas in the paper's code posterize and solarize are strongest
    there. Interpolates linearly.
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        strengths = jnp.full(keys.shape, m / 10.0, jnp.float32)
        for layer in range(n):
            layer_keys = jax.vmap(lambda key, layer=layer: jax.random.fold_in(key, layer))(keys)
            sample = _apply_one(layer_keys, sample, strengths, RAND_AUGMENT)
        return sample

    return apply


def trivial_augment() -> Augmentation:
    """Apply one operation at one of 31 strengths (Mueller & Hutter 2021, "TrivialAugment", wide).

    Translations reach 32 pixels for any image size, as in the paper.
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        strength_keys, keys = jax.vmap(jax.random.split)(keys).T
        bins = jax.vmap(lambda key: jax.random.randint(key, (), 0, 31))(strength_keys)
        return _apply_one(keys, sample, bins.astype(jnp.float32) / 30.0, TRIVIAL_AUGMENT)

    return apply


def apply_operations(
    numbers: Int[Array, " n"], amounts: Float[Array, " n"], sample: Sample, reach: Reach
) -> Sample:
    """Apply one of `OPERATIONS` to each example.

    Args:
        numbers: index of the operation in `OPERATIONS`.
        amounts: its strength; 1 is that of `reach`, below 0 is the other direction.
        sample: the examples.
        reach: the meaning of strength 1.
    """
    size = sample["image"].shape[1:3]
    backward = jax.vmap(lambda number, amount: _matrix(number, amount, size, reach))
    change = jax.vmap(lambda number, amount, image: _change(number, amount, image, reach))
    sample = warp(sample, backward(numbers, amounts), fill=_GREY)
    return {**sample, "image": change(numbers, amounts, sample["image"])}


def _apply_one(
    keys: Key[Array, " n"], sample: Sample, strengths: Float[Array, " n"], reach: Reach
) -> Sample:
    def draw(key: Key[Array, ""]) -> tuple[Array, Array]:
        number_key, sign_key = jax.random.split(key)
        number = jax.random.randint(number_key, (), 0, len(OPERATIONS))
        return number, jax.random.rademacher(sign_key, (), jnp.float32)

    numbers, signs = jax.vmap(draw)(keys)
    return apply_operations(numbers, signs * strengths, sample, reach)


def _matrix(number: Array, amount: Array, size: tuple[int, ...], reach: Reach) -> Array:
    """Return the backward matrix of an operation; the identity if it is not geometric."""
    height, width = size if reach.by_size else (1, 1)
    zero, one = jnp.zeros_like(amount), jnp.ones_like(amount)
    shear, step = amount * reach.shear, amount * reach.translate
    moves = [
        (one, shear, zero, zero, one, zero),
        (one, zero, zero, shear, one, zero),
        (one, zero, step * width, zero, one, zero),
        (one, zero, zero, zero, one, step * height),
    ]
    matrices = [jnp.stack(move).reshape(2, 3) for move in moves]
    matrices.append(turn(jnp.deg2rad(amount * reach.rotate), size))
    matrices.append(jnp.stack([one, zero, zero, zero, one, zero]).reshape(2, 3))
    return jnp.stack(matrices)[jnp.minimum(number, _IDENTITY)]


def _change(number: Array, amount: Array, image: Image, reach: Reach) -> Image:
    """Return the image with its values changed; geometric operations leave them unchanged."""
    image = materialize(image)
    factor = jnp.maximum(1.0 + amount * reach.enhance, 0.0)
    strength = jnp.abs(amount)
    bits = jnp.minimum(jnp.round(strength * reach.bits), 7.0).astype(jnp.int32)
    changed = [
        image,
        pixel_ops.brightness(image, factor),
        pixel_ops.saturation(image, factor),
        pixel_ops.contrast(image, factor),
        pixel_ops.sharpness(image, factor),
        pixel_ops.posterize(image, bits),
        pixel_ops.solarize(image, 256.0 * (1.0 - strength)),
        pixel_ops.autocontrast(image),
        pixel_ops.equalize(image),
    ]
    return jax.lax.select_n(jnp.maximum(number - _IDENTITY, 0), *changed)
