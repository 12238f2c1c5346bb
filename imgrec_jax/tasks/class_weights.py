"""Parse the class weights of a loss from the config."""

from collections.abc import Sequence

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.ranges import NOT_NEGATIVE


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
    valid = all(map(NOT_NEGATIVE.accepts, weights)) and any(weights)
    if len(weights) != len(counts) or not valid:
        raise UsageError(
            f"expected task.class_weights of '', balanced or {len(counts)} numbers, not all 0, "
            f"each {NOT_NEGATIVE}, "
            f"got '{text}'; try --config.task.class_weights=balanced"
        )
    return weights
