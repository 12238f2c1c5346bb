"""Large images from tiles."""

import numpy as np
import pytest

from imgrec_jax.ops.tiling import blend_tiles, starts


def test_tiles_overlap_by_half_and_end_at_the_edges():
    assert starts(8, 8) == [0]
    assert starts(5, 8) == [0]
    assert starts(16, 8) == [0, 4, 8]
    assert starts(17, 8) == [0, 3, 6, 9]


@pytest.mark.parametrize("size", [(4, 6), (20, 13), (3, 40)])
def test_a_rule_for_single_pixels_is_the_same_in_tiles(size):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    seen = []

    def predict(tiles):
        seen.append(tiles.shape[1:])
        return tiles[..., :2].astype(np.float32)

    answer = blend_tiles(predict, image, (4, 6))
    np.testing.assert_allclose(answer, image[..., :2], rtol=1e-6)
    assert set(seen) == {(4, 6, 3)}


def test_tiles_fade_into_each_other():
    """Tiles that say 0, 1, 2, ... by turns give values that rise without a step."""
    turn = iter(range(9))

    def predict(tiles):
        values = [np.full((8, 8, 1), next(turn), np.float32) for _ in tiles]
        return np.stack(values)

    row = blend_tiles(predict, np.zeros((8, 16, 1), np.uint8), (8, 8))[0, :, 0]
    np.testing.assert_allclose(row[:5], [0, 0, 0, 0, 0.2])
    assert (np.diff(row) >= 0).all()
    assert row[-1] == 2.0
