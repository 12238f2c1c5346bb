"""Interface of augmentations: the sample format and how to augment a batch.

A sample is a dict of arrays with a leading example axis:

- `image`: float32[n, h, w, c] in 0 .. 1; dtype and range are kept; only `patch` changes the shape.
- `label_map`: int32[n, h, w], a class per pixel; `IGNORE` for pixels from outside the image.
- `boxes`: float32[n, m, 4] as x0, y0, x1, y1 in pixels from the upper left corner, with
  `box_mask` (bool[n, m], false in padding). Boxes are clipped to the image, and masked out
  where no area is left.
- `index`, `epoch`: int32[n], for augmentations that depend on them; never changed.

All but `image` are optional. Geometric augmentations also move label maps and boxes; those that
change values change `image` only.
"""

from collections.abc import Callable, Mapping

import jax
from jaxtyping import Array, Float, Key

from imgrec_jax.core import fields
from imgrec_jax.core.task import Batch

Sample = Mapping[str, Array]
Image = Float[Array, "h w c"]
Augmentation = Callable[[Key[Array, " n"], Sample], Sample]
"""`(keys, sample) -> sample`, with a random key per example: the result for an example does not
depend on its neighbours."""

MOVED = (fields.PIXELS, fields.LABEL_MAP, fields.BOXES, fields.BOX_FLAG, fields.INDEX)
"""The kinds of fields that an augmentation receives."""


def augment_batch(augment: Augmentation, batch: Batch) -> Batch:
    """Return the batch with the images of all samples of its rows augmented.

    A partner (`partner_image`, `partner_keys`, ...) has the key of its own row, so it is augmented
    as it is there. In episodes and in unlabelled examples, whose keys are [n, rows], each image is
    augmented by itself.
    """
    for prefix in samples_of(batch):
        sample = augmented(augment, batch[f"{prefix}keys"], fields.sample(batch, prefix))
        batch = {**batch, **{prefix + name: value for name, value in sample.items()}}
    return batch


def samples_of(batch: Batch) -> list[str]:
    """Return the prefixes of the samples of the rows that a batch holds."""
    return [prefix for prefix in fields.SAMPLES if f"{prefix}keys" in batch]


def augmented(augment: Augmentation, keys: Key[Array, " *n"], batch: Batch) -> Sample:
    """Return the augmented fields of a batch that have no prefix."""
    sample = {n: v for n, v in fields.of_kind(batch, *MOVED).items() if n in fields.KINDS}
    for _ in range(keys.ndim - 1):
        augment = jax.vmap(augment)
    return augment(keys, sample)


def per_image(
    change: Callable[[Key[Array, ""], Image], Image],
) -> Augmentation:
    """Return an augmentation that changes only the pixel values of each image."""

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        return {**sample, "image": jax.vmap(change)(keys, sample["image"])}

    return apply
