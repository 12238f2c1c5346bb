"""Load scikit-learn's handwritten digits: real images without a download."""

import numpy as np

from imgrec_jax.data.sources.source import ArraySource, Splits

_EVERY = 5


def open_digits() -> Splits:
    """Return scikit-learn's 8x8 digits as `train` (1,433 images) and `test` (364).

    Images are uint8[8, 8, 1]; the 17 grey levels 0..16 of the original are scaled to 0..255
    (times 255 / 16, rounded). Label names are "0" to "9". The split is fixed and stratified:
    the first of every five examples of each class is held out. Source: E. Alpaydin and
    C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (test part).
    """
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = target.astype(np.int32)
    held_out = np.zeros(len(labels), bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[::_EVERY]] = True
    whole = ArraySource(images, labels, tuple("0123456789"))
    return {
        "train": whole.take(np.flatnonzero(~held_out)),
        "test": whole.take(np.flatnonzero(held_out)),
    }
