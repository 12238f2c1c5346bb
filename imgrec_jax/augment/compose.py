"""Stages in a row, each with random numbers of its own."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Key

from imgrec_jax.augment.geometry import Augmentation, Images


def compose(stages: Sequence[Augmentation]) -> Augmentation:
    """Return the stages as one; no stages leave the pictures as they are."""

    def apply(keys: Key[Array, " n"], images: Images) -> Images:
        for number, stage in enumerate(stages):
            stage_keys = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            images = stage(stage_keys, images)
        return images

    return apply
