"""Blend predictions from overlapping tiles of a large image, in plain NumPy."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def blend_tiles(
    predict: Callable[[np.ndarray], Float[np.ndarray, "n h w k"]],
    image: np.ndarray,
    size: tuple[int, int],
) -> Float[np.ndarray, "h w k"]:
    """Return the prediction for each pixel, as weighted mean over the tiles that contain it.

    Tiles of `size` (height, width) overlap by half or more and end at the image's edges. The
    weight of a tile falls linearly from its centre to its sides, so that no seams appear
    (Ronneberger et al. 2015, "U-Net", section 2, without blending). An image smaller than a
    tile is padded by reflection.
    """
    height, width = image.shape[:2]
    missing = [max(0, tile - side) for tile, side in zip(size, (height, width), strict=True)]
    padded = np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
    weight = (_ramp(size[0])[:, None] * _ramp(size[1])[None])[..., None]
    columns = starts(padded.shape[1], size[1])
    total, weights = np.zeros(()), np.zeros((*padded.shape[:2], 1), np.float32)
    for top in starts(padded.shape[0], size[0]):
        rows = slice(top, top + size[0])
        tiles = predict(np.stack([padded[rows, left : left + size[1]] for left in columns]))
        if total.ndim == 0:
            total = np.zeros((*padded.shape[:2], tiles.shape[-1]), np.float32)
        for left, tile in zip(columns, tiles, strict=True):
            total[rows, left : left + size[1]] += weight * tile
            weights[rows, left : left + size[1]] += weight
    return (total / weights)[:height, :width]


def starts(side: int, tile: int) -> list[int]:
    """Return the starts of tiles: evenly spaced, at most half a tile apart, the last at the end.

    A tile that fits exactly is the only one.
    """
    count = 1 if side <= tile else -(-(side - tile) // max(1, tile // 2)) + 1
    return [round(i * (side - tile) / max(1, count - 1)) for i in range(count)]


def _ramp(size: int) -> Float[np.ndarray, " s"]:
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1.0
    return (distance / distance.max()).astype(np.float32)
