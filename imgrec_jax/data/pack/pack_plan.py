"""Plan how to divide a pack into shards; the plan depends on the images alone."""

import contextlib
import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.pack.shards import stored_bytes
from imgrec_jax.data.pack.tfds_description import shard_name
from imgrec_jax.data.raw.items import Images

_SHARD_BYTES = 256 << 20  # about this size each, but at least ...
_FEWEST = 8  # ... as many shards as this, so that small sets are packed in parallel too, ...
_LEAST_IMAGES = 1024  # ... as long as each has this many images
_SAMPLES = 64  # images of each split, read to identify the content and to estimate its size


class Shard(NamedTuple):
    """A planned shard: rows `start` to `stop` (exclusive) of a split, in the file `name`."""

    name: str
    split: str
    start: int
    stop: int


def survey(splits: Mapping[str, Images]) -> tuple[str, dict[str, float]]:
    """Return a SHA-256 of the content, and the mean stored bytes of an image by split."""
    digest = hashlib.sha256()
    sizes = {}
    for split, images in splits.items():
        digest.update(repr((split, len(images), images.label_names)).encode())
        digest.update(np.ascontiguousarray(images.labels, np.int32).tobytes())
        stored = [0]
        for row in map(int, np.unique(np.linspace(0, len(images) - 1, _SAMPLES).astype(int))):
            with contextlib.suppress(UserError):  # a damaged image is reported when it is written
                item, pixels = images.read(row)
                digest.update(np.ascontiguousarray(pixels).tobytes())
                stored.append(len(stored_bytes(item, pixels)))
        sizes[split] = sum(stored) / max(1, len(stored) - 1)
    return digest.hexdigest(), sizes


def plan_shards(
    splits: Mapping[str, Images], sizes: Mapping[str, float], shards: int
) -> list[Shard]:
    """Return the shards of each split, in order.

    Args:
        splits: the images to pack.
        sizes: as `survey` returns them.
        shards: of the largest split, others in proportion; 0 = by size.
    """
    most = max(len(images) for images in splits.values())
    plan = []
    for split, images in splits.items():
        n = len(images)
        if shards:
            number = round(shards * n / most)
        else:
            number = max(
                math.ceil(n * sizes[split] / _SHARD_BYTES), min(_FEWEST, n // _LEAST_IMAGES)
            )
        number = min(max(1, number), n)
        bounds = [n * k // number for k in range(number + 1)]
        plan += [
            Shard(shard_name(split, k, number), split, bounds[k], bounds[k + 1])
            for k in range(number)
        ]
    return plan


def estimate(shard: Shard, splits: Mapping[str, Images], sizes: Mapping[str, float]) -> float:
    """Return the approximate size of a shard in bytes."""
    return (shard.stop - shard.start) * (sizes[shard.split] + 64)  # label, keys and index
