"""Augmentations that move whole pixels: factories `settings -> (keys, sample) -> sample`.

See `augmentation` for the contents of a sample; label maps and boxes move with the pixels.
"""

from collections.abc import Iterator
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from imgrec_jax.augment.affine import carry_boxes, stretch
from imgrec_jax.augment.augmentation import Augmentation, Sample
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import LABEL_MAP, PIXELS, of_kind
from imgrec_jax.core.ranges import FRACTION, SEED, SIDE

_ROWS, _COLUMNS = 1, 2  # axes of [n, h, w, ...]


def flip(probability: Annotated[float, FRACTION] = 0.5) -> Augmentation:
    """Mirror horizontally (Krizhevsky et al. 2012, "ImageNet Classification", section 4.1)."""

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        return _mirror(sample, _coins(keys, probability), _COLUMNS)

    return apply


def vertical_flip(probability: Annotated[float, FRACTION] = 0.5) -> Augmentation:
    """Mirror vertically, for images without an upright direction (Ciresan et al. 2013, "Mitosis
    Detection in Breast Cancer Histology Images with Deep Neural Networks").
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        return _mirror(sample, _coins(keys, probability), _ROWS)

    return apply


def alternating_flip(seed: Annotated[int, SEED] = 0) -> Augmentation:
    """Mirror horizontally in every other epoch.

    Half of the examples, by a hash of (seed, index), start mirrored: two consecutive epochs show
    each example both ways (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single
    GPU", section 3.6). The keys are not used.
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        del keys
        root = jax.random.key(seed)
        keys_of_examples = jax.vmap(lambda index: jax.random.fold_in(root, index))(sample["index"])
        odd = jnp.asarray(sample["epoch"]) % 2 == 1
        return _mirror(sample, odd ^ _coins(keys_of_examples, 0.5), _COLUMNS)

    return apply


def pad_crop(pad: Annotated[int, SIDE] = 4) -> Augmentation:
    """Pad by reflection on all sides, then crop the original size at a random position.

    The edge pixel is not repeated, as in torch's and numpy's "reflect". (He et al. 2015, "Deep
    Residual Learning", section 4.2, pad with zeros.) No padded image is built: the crop
    reads its rows and columns through reflected indices. Label maps are reflected like the
    image; boxes are not reflected and stay at the position of the original.
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        shifts = jax.vmap(lambda key: jax.random.randint(key, (2,), -pad, pad + 1))(keys)
        size = sample["image"].shape[1:3]
        moved = {name: _cut(pixels, shifts, size, size) for name, pixels in _pixels(sample)}
        top, left = -shifts.T.astype(jnp.float32)
        one = jnp.ones_like(left)
        return carry_boxes({**sample, **moved}, stretch(left, top, one, one))

    return apply


def patch(height: Annotated[int, SIDE] = 0, width: Annotated[int, SIDE] = 0) -> Augmentation:
    """Crop a window of height x width pixels at a uniformly random position.

    0 is the whole side. Images become smaller: for training networks that take any size.
    Label maps and boxes are cropped in the same way. (Ronneberger et al. 2015, "U-Net",
    section 3, train on tiles.)
    """

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        size = sample["image"].shape[1:3]
        target = height or size[0], width or size[1]
        if size[0] < target[0] or size[1] < target[1]:
            raise UsageError(
                f"expected patches of {size[0]}x{size[1]} at most, got {height}x{width}; "
                f"try patch({size[0]}, {size[1]})"
            )
        room = jnp.array([size[0] - target[0] + 1, size[1] - target[1] + 1], jnp.int32)
        corners = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, room))(keys)
        moved = {name: _cut(pixels, corners, size, target) for name, pixels in _pixels(sample)}
        top, left = -corners.T.astype(jnp.float32)
        one = jnp.ones_like(left)
        return carry_boxes({**sample, **moved}, stretch(left, top, one, one))

    return apply


def _pixels(sample: Sample) -> Iterator[tuple[str, Array]]:
    """Yield the fields that have a value per pixel: images and label maps."""
    for name, pixels in of_kind(sample, PIXELS, LABEL_MAP).items():
        yield name, jnp.asarray(pixels)


def _cut(
    pixels: Array, corners: Int[Array, "n 2"], size: tuple[int, ...], target: tuple[int, ...]
) -> Array:
    """Return windows of images that start at (row, column) `corners`; the outside is reflected.

    Corners and sizes are in pixels of `image`; for a field of k times its size, such as the
    target of super-resolution, both are multiplied by k.
    """
    k = pixels.shape[1] // size[0]
    if pixels.shape[1:3] != (k * size[0], k * size[1]):
        raise UsageError(
            f"expected fields of the image's size {size[0]}x{size[1]} or a whole multiple of it, "
            f"got {pixels.shape[1]}x{pixels.shape[2]}; try augmentations that keep places"
        )

    def places(axis: int) -> Int[Array, "n s"]:
        within = jnp.arange(target[axis])[None] + corners[:, axis : axis + 1]
        coarse = _reflect(within, size[axis])  # as in the image, also beyond its edge
        fine = k * coarse[..., None] + jnp.arange(k)[None, None]
        return fine.reshape(len(corners), -1)

    rows, columns = places(0), places(1)
    return jax.vmap(lambda image, row, column: image[row][:, column])(pixels, rows, columns)


def _mirror(sample: Sample, chosen: Bool[Array, " n"], axis: int) -> Sample:
    """Return the sample with the chosen examples mirrored along an axis of [n, h, w, ...]."""
    mirrored = {}
    for name, pixels in _pixels(sample):
        broad = chosen.reshape(-1, *[1] * (pixels.ndim - 1))
        mirrored[name] = jnp.where(broad, jnp.flip(pixels, axis), pixels)
    size = float(sample["image"].shape[axis])
    start = jnp.where(chosen, size, 0.0)
    step = jnp.where(chosen, -1.0, 1.0)
    zero, one = jnp.zeros_like(start), jnp.ones_like(start)
    across = (start, zero, step, one) if axis == _COLUMNS else (zero, start, one, step)
    return carry_boxes({**sample, **mirrored}, stretch(*across))


def _coins(keys: Key[Array, " n"], probability: float) -> Bool[Array, " n"]:
    return jax.vmap(lambda key: jax.random.bernoulli(key, probability))(keys)


def _reflect(index: Int[Array, "n s"], size: int) -> Int[Array, "n s"]:
    """Reflect indices outside 0 .. size - 1 at the edges, as often as needed."""
    if size == 1:
        return jnp.zeros_like(index)
    period = 2 * (size - 1)
    index = jnp.abs(index) % period
    return jnp.minimum(index, period - index)
