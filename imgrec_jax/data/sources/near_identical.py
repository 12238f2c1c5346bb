"""Group images that look alike: copies in another size, format or quality, frames of one scene."""

from dataclasses import replace

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.images.bit_depth import opencv
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import Source, gather
from imgrec_jax.data.sources.wrapper import rebuilt

NEAR_IDENTICAL = "near-identical"
"""The value of `data.group_by` that groups by looks."""

MOST = 50_000
"""Every image is compared with every other one, so there may be at most this many."""

_SIDE = 8  # pixels of the reduced images that are compared
_NEAR = 5.0  # of 255: the largest root mean square difference of near-identical images
_READ = 256  # images reduced at once
_ROWS = 1024  # compared with all others at once


def number_near_identical(source: Source, where: str) -> np.ndarray:
    """Return int64[n], the group of each image: images that look alike have the same number.

    Images look alike if their reductions to 8x8 pixels differ by a root mean square of at most 5
    of 255 levels, and so do images that are connected by such pairs. Damaged images are groups
    of their own.

    Raises:
        UsageError: there are no images, or too many to compare.
    """
    if not source.image_shape[0] or len(source) > MOST:
        raise UsageError(
            f"expected 1 to {MOST:,} images for data.group_by={NEAR_IDENTICAL} in {where}, got "
            f"{len(source) if source.image_shape[0] else 0:,}; try a column or a pattern instead"
        )
    reduced, intact = _reduce(rebuilt(source, _skipping))
    squares = np.square(reduced).sum(1)
    limit = _NEAR**2 * reduced.shape[1]
    parents = list(range(len(source)))
    for start in range(0, len(source), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = squares[rows, None] + squares[None] - 2 * reduced[rows] @ reduced.T
        for below, other in np.argwhere(distances <= limit).tolist():
            row = start + below
            if other < row and intact[row] and intact[other]:
                parents[_root(parents, row)] = _root(parents, other)
    return np.array([_root(parents, row) for row in range(len(source))], np.int64)


def _skipping(source: Source) -> Source:
    """Return a source that reports damaged images, where it can."""
    return replace(source, skip_broken=True) if isinstance(source, EncodedSource) else source


def _reduce(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return images reduced to 8x8 pixels from 0 to 255, float32[n, k], and which are intact."""
    cv2 = opencv()
    found: list[np.ndarray] = []
    intact: list[np.ndarray] = []
    for start in range(0, len(source), _READ):
        rows = np.arange(start, min(start + _READ, len(source)))
        batch = gather(source, rows)
        images = batch["image"].astype(np.float32) * (255 / np.iinfo(batch["image"].dtype).max)
        small = [cv2.resize(i, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for i in images]
        found.append(np.stack(small).reshape(len(rows), -1))
        intact.append(batch.get("broken", np.zeros(len(rows), "U1")) == "")
    return np.concatenate(found), np.concatenate(intact)


def _root(parents: list[int], row: int) -> int:
    """Return the representative of a row's group, and shorten the way to it."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row
