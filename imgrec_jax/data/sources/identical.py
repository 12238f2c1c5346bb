"""Find identical images within and between the splits of a data set.

Decoded images are compared by their pixels, encoded ones by the bytes of their files.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.sources.encoded import EncodedSource, thread_count
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.source import ArraySource, Source
from imgrec_jax.data.sources.wrapper import Wrapper

MOST_READ = 20_000
"""Encoded images are compared if there are at most this many: each file is read once."""

_PLACES = 64  # pixels of an image that are compared before all of them
_PARCEL = 256  # encoded images read at once

_logger = logging.getLogger(__name__)


class _Stored(NamedTuple):
    """Some rows of a source that holds images."""

    source: ArraySource | EncodedSource
    rows: np.ndarray

    def name(self, split: str, row: int) -> str:
        if isinstance(self.source, EncodedSource):
            return self.source.encoded.name(int(self.rows[row]))
        return f"{split}[{row}]"


def number_identical(splits: Mapping[str, Source]) -> dict[str, np.ndarray]:
    """Return int64[n] for each split; examples of all splits share a number if their images do.

    The result is {} if images cannot be compared: there are none, they are generated, or more than
    `MOST_READ` are encoded.
    """
    stored = {split: found for split, source in splits.items() if (found := _stored(source))}
    if len(stored) < len(splits):
        return {}
    if all(isinstance(found.source, ArraySource) for found in stored.values()):
        keys = _keys_of_pixels([_pixels(found) for found in stored.values()])
    elif sum(len(found.rows) for found in stored.values()) <= MOST_READ:
        keys = np.concatenate([_keys_of_files(found) for found in stored.values()])
    else:
        _logger.info("more than %d encoded images: identical ones are not looked for", MOST_READ)
        return {}
    numbers = np.unique(keys, return_inverse=True)[1]
    ends = np.cumsum([len(found.rows) for found in stored.values()])
    return dict(zip(stored, np.split(numbers, ends[:-1]), strict=True))


def warn_of_leaks(splits: Mapping[str, Source], numbers: Mapping[str, np.ndarray]) -> None:
    """Print one warning for each split with images of train, given `number_identical`."""
    if "train" not in numbers:
        return
    for split, own in numbers.items():
        shared = np.flatnonzero(np.isin(own, numbers["train"]))
        if split != "train" and len(shared):
            again = int(shared[0])
            first = int(np.flatnonzero(numbers["train"] == own[again])[0])
            one, other = _stored(splits["train"]), _stored(splits[split])
            assert one is not None
            assert other is not None
            _logger.warning(
                "%d of the %d images of %s are also in train, the first %s = %s: scores on %s are "
                "too good; data inspect lists them",
                len(shared), len(own), split,
                other.name(split, again), one.name("train", first), split,
            )  # fmt: skip


def joined(groups: np.ndarray | None, others: np.ndarray | None) -> np.ndarray | None:
    """Return int64[n], the groups of examples that are connected by groups of either kind.

    None stands for examples that are all on their own, in the arguments and in the result.
    """
    if others is None or len(np.unique(others)) == len(others):
        return groups
    if groups is None:
        return others
    number = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    while True:
        before = number
        for kind in (groups, others):
            places = np.unique(kind, return_inverse=True)[1]
            least = np.full(len(places), len(places), np.int64)
            np.minimum.at(least, places, number)
            number = least[places]
        if np.array_equal(before, number):
            return number


def _stored(source: Source) -> _Stored | None:
    """Return where the images of a source are; None if it holds no images."""
    rows = np.arange(len(source))
    while isinstance(source, Wrapper):
        rows = source.rows[rows] if isinstance(source, Rows) else rows
        source = source.source
    if isinstance(source, EncodedSource) or (
        isinstance(source, ArraySource) and source.images is not None
    ):
        return _Stored(source, rows)
    return None


def _pixels(found: _Stored) -> np.ndarray:
    assert isinstance(found.source, ArraySource)
    images = found.source.images
    assert images is not None
    return images if len(images) == len(found.rows) else images[found.rows]


def _keys_of_pixels(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return uint64[n] of arrays [., h, w, c]: equal for equal images, else almost surely not.

    An image is read whole only if it equals another one at some places.
    """
    keys = np.concatenate([_samples(images) for images in parts])
    ends = np.cumsum([len(images) for images in parts])
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    for row in np.flatnonzero(counts[inverse] > 1).tolist():
        part = int(np.searchsorted(ends, row, side="right"))
        image = parts[part][row - int(ends[part]) + len(parts[part])]
        keys[row] = _digest(np.ascontiguousarray(image).data, repr(image.shape).encode())
    return keys


def _samples(images: np.ndarray) -> np.ndarray:
    """Return uint64[n], a hash of evenly spaced pixels of each image."""
    flat = images.reshape(len(images), -1)
    places = np.unique(np.linspace(0, flat.shape[1] - 1, _PLACES).astype(np.int64))
    weights = np.random.PCG64(0).random_raw(len(places)) | 1
    return (flat[:, places] * weights).sum(1, dtype=np.uint64)


def _keys_of_files(found: _Stored) -> np.ndarray:
    source = found.source
    assert isinstance(source, EncodedSource)

    def digest(rows: np.ndarray) -> list[int]:
        try:
            return [_digest(data) for data in source.encoded.read(rows.tolist())]
        except UserError:  # a damaged file is reported where the image is used
            return [_digest(b"", repr(row).encode()) for row in rows.tolist()]

    parcels = np.array_split(found.rows, max(1, -(-len(found.rows) // _PARCEL)))
    with ThreadPoolExecutor(thread_count()) as pool:
        return np.array([key for keys in pool.map(digest, parcels) for key in keys], np.uint64)


def _digest(data: bytes | memoryview, salt: bytes = b"") -> int:
    digest = hashlib.blake2b(salt, digest_size=8)
    digest.update(data)
    return int.from_bytes(digest.digest(), "little")
