"""Create several independently augmented views of each image, for contrastive learning."""

from collections.abc import Sequence

import jax
from jaxtyping import Array, Key

from imgrec_jax.augment.augmentation import Augmentation, augment_batch, augmented, samples_of
from imgrec_jax.core.fields import PIXELS, kind_of, sample, view_prefix
from imgrec_jax.core.random_streams import ExampleStream
from imgrec_jax.core.task import Batch


def augment_views(augments: Sequence[Augmentation], batch: Batch) -> Batch:
    """Return the batch with `image` from the first augmentation and further views from the others.

    View k (k >= 2) is `viewK_image`, with its annotations in `viewK_boxes` and so on; that of
    unlabelled examples is `unlabelled_viewK_image`. It depends on (seed, epoch, index, k) alone.
    Views may differ in size, as in multi-crop.
    """
    views = {}
    for number, augment in enumerate(augments[1:], start=2):
        for prefix in samples_of(batch):
            keys = view_keys(batch[f"{prefix}keys"], number)
            view = augmented(augment, keys, sample(batch, prefix))
            start = prefix + view_prefix(number)
            views |= {start + name: value for name, value in view.items() if _belongs(name)}
    return {**augment_batch(augments[0], batch), **views}


def view_keys(keys: Key[Array, " *n"], number: int) -> Key[Array, " *n"]:
    """Return the keys of a view, counted from 1; the first has those of the examples."""
    if number == 1:
        return keys
    fold = jax.random.fold_in
    flat = jax.vmap(lambda key: fold(key, ExampleStream.VIEWS + number))(keys.reshape(-1))
    return flat.reshape(keys.shape)


def _belongs(name: str) -> bool:
    """Return whether a field belongs to a view, not to the example (as its row in the source)."""
    return kind_of(name) == PIXELS or name in {"label_map", "boxes", "box_mask"}
