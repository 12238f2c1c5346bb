import numpy as np

from imgrec_jax.core.metrics import add


def test_integers_are_added_in_64_bit():
    most = np.int32(2**31 - 1)
    total = add(add({}, {"pixels": most}), {"pixels": most})
    assert total["pixels"] == 2**32 - 2
    assert total["pixels"].dtype == np.int64


def test_floats_are_added_in_64_bit():
    """In float32, 2^24 + 1 is 2^24."""
    total = add({"loss": np.float64(2**24)}, {"loss": np.float32(1.0)})
    assert total["loss"] == 2**24 + 1


def test_arrays_are_added_elementwise_and_keep_their_shape():
    one = {"confusion": np.array([[1, 2], [3, 4]], np.int32)}
    np.testing.assert_array_equal(add(add({}, one), one)["confusion"], [[2, 4], [6, 8]])
