"""Parse the class weights of a loss from the config."""

import math
from collections.abc import Sequence

from imgrec_jax.core.errors import UsageError


def read_class_weights(text: str, counts: Sequence[int]) -> tuple[float, ...]:
    """Return the weight of each class from `task.class_weights`; "" means no weights.

    "balanced" is n / (k · n_c) for class c with n_c of n training images and k nonempty classes:
    each class then contributes equally to the loss, and the mean weight of an image is 1. A class
    without images has weight 0. Otherwise one number per class: "0.5,1,2".

    Raises:
        UsageError: it is none of these, or does not fit the number of classes.
    """
    if not text:
        return ()
    if text == "balanced":
        present = sum(count > 0 for count in counts)
        return tuple(sum(counts) / (present * count) if count else 0.0 for count in counts)
    try:
        weights = tuple(float(part) for part in text.strip("[]() ").split(","))
    except ValueError:
        weights = ()
    valid = all(math.isfinite(w) and w >= 0 for w in weights) and any(weights)
    if len(weights) != len(counts) or not valid:
        raise UsageError(
            f"expected task.class_weights of '', balanced or {len(counts)} numbers of 0 or more, "
            f"got '{text}'; try --config.task.class_weights=balanced"
        )
    return weights
