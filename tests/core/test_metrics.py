import numpy as np

from imgrec_jax.core.metrics import add, add_rows


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


def test_a_float32_total_would_lose_what_is_small():
    """2^24 + 0.25, four times: float32 has no digits for the quarters."""
    total = add(add({}, {"loss": np.float32(2**24)}), {"loss": np.float32(0.25)})
    assert total["loss"] == 2**24 + 0.25
    assert total["loss"].dtype == np.float64


def test_sums_of_rows_do_not_depend_on_batches():
    rows = np.random.default_rng(0).lognormal(0, 6, (100, 3)).astype(np.float32)
    whole = add_rows({}, {"loss": rows})["loss"]
    for size in (1, 7, 64):
        total = {}
        for start in range(0, 100, size):
            total = add_rows(total, {"loss": rows[start : start + size]})
        np.testing.assert_array_equal(total["loss"], whole)
    np.testing.assert_allclose(whole, rows.sum(0, dtype=np.float64), rtol=1e-12)
    assert add_rows({}, {"loss": rows[:0, 0]})["loss"] == 0
