"""Chain augmentation stages, each with its own random keys."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Key

from imgrec_jax.augment.augmentation import Augmentation, Sample
from imgrec_jax.core.barriers import materialize
from imgrec_jax.core.fields import PIXELS, of_kind


def compose(stages: Sequence[Augmentation]) -> Augmentation:
    """Return one augmentation that applies all stages; no stages leave the images unchanged."""

    def apply(keys: Key[Array, " n"], sample: Sample) -> Sample:
        for number, stage in enumerate(stages):
            stage_keys = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
            sample = stage(stage_keys, sample)
        # A network reads its images many times: once for each position in a convolution's kernel.
        pixels = of_kind(sample, PIXELS) if stages else {}
        return {**sample, **{name: jax.vmap(materialize)(image) for name, image in pixels.items()}}

    return apply
