import numpy as np
import pytest

from imgrec_jax.weights.resize import resized


def test_learned_positions_are_resized_at_any_depth():
    saved = np.ones((1, 5, 8), np.float32)
    for path in ("positions", "encoder/positions"):
        np.testing.assert_allclose(resized(path, saved, (1, 17, 8)), np.ones((1, 17, 8)), rtol=1e-5)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("positions", (1, 16, 8)),  # without a class token
        ("positions", (1, 17, 9)),
        ("positions", (17, 8)),
        ("kernel", (1, 17, 8)),
    ],
)
def test_what_no_family_resizes_is_left(path, shape):
    assert resized(path, np.ones((1, 5, 8), np.float32), shape) is None
