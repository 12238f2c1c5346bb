"""Stages in a row, each with random numbers of its own."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Key

from imgrec_jax.augment.augmentation import Augmentation, Sample
from imgrec_jax.core.barriers import materialize


def compose(stages: Sequence[Augmentation]) -> Augmentation:
    """Return the stages as one; no stages leave the pictures as they are."""

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        for number, stage in enumerate(stages):
            stage_keys = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            sample = stage(stage_keys, sample)
        # A network reads its pictures many times: once for each place of a convolution's kernel.
        return {**sample, "image": jax.vmap(materialize)(sample["image"])} if stages else sample

    return apply
