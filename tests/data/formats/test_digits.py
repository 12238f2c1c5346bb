"""The embedded digits."""

import numpy as np

from imgrec_jax.data.formats.digits import open_digits


def test_the_split_is_fixed_and_stratified():
    splits = open_digits()
    assert list(splits) == ["train", "test"]
    assert len(splits["train"]) == 1433
    assert len(splits["test"]) == 364
    assert np.bincount(splits["test"].labels).tolist() == [36, 37, 36, 37, 37, 37, 37, 36, 35, 36]
    # The file begins with 0 to 9 three times, then 0 9 5 5 6 5 0 9 8 9: the sixth 5, the sixth 9.
    assert splits["test"].labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 9]
    assert splits["train"].labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_images_are_scaled_to_bytes():
    test = open_digits()["test"]
    assert test.images.dtype == np.uint8
    assert test.labels.dtype == np.int32
    assert test.image_shape == (8, 8, 1)
    assert test.label_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    # The first zero of the set is 0 0 5 13 9 1 0 0 / 0 0 13 15 10 15 5 0 / ... of 16.
    assert test.images[0, :2, :, 0].tolist() == [
        [0, 0, 80, 207, 143, 16, 0, 0],
        [0, 0, 207, 239, 159, 239, 80, 0],
    ]
    assert sorted({*test.images.ravel().tolist()}) == [
        0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255,
    ]  # fmt: skip
