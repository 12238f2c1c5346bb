"""RGB images of any size, without classes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.image_size import image_size, is_grey
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedImages, thread_count
from imgrec_jax.data.sources.source import Example

_CHANNELS = 3


@dataclass(frozen=True)
class WholeImages:
    """Images in their own sizes, decoded on demand or held in memory.

    They cannot be stacked into batches: a task makes examples of one shape from them.

    Attributes:
        encoded: where the images are.
        sizes: int[n, 2], the height and width of each.
        grey: bool[n], which are stored with one channel.
        held: the decoded images, uint8[h, w, 3] each; empty if they are decoded on demand.
    """

    encoded: EncodedImages
    sizes: np.ndarray
    grey: np.ndarray
    held: tuple[np.ndarray, ...] = field(default=(), repr=False)

    @property
    def labels(self) -> np.ndarray:
        return np.zeros(len(self), np.int32)

    @property
    def label_names(self) -> tuple[str, ...]:
        return ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The height and width that hold every image."""
        height, width = self.sizes.max(0).tolist()
        return height, width, _CHANNELS

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Example:
        return {"image": self.pixels(range(len(self))[row])}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self[row] for row in rows]

    def pixels(self, row: int) -> np.ndarray:
        """Return an image, uint8[h, w, 3]."""
        if self.held:
            return self.held[row]
        return decode(self.encoded.read([row])[0], self.name(row), channels=_CHANNELS)

    def name(self, row: int) -> str:
        """Return the name of an image, for messages."""
        return self.encoded.name(row)


def open_whole(encoded: EncodedImages) -> WholeImages:
    """Return the images, held in memory if they fit into `memory_limit.decoded_limit`.

    Raises:
        UserError: an image is damaged.
    """

    def describe(row: int) -> tuple[tuple[int, int], bool]:
        data = encoded.read([row])[0]
        return image_size(data, encoded.name(row)), is_grey(data)

    rows = range(len(encoded))
    with ThreadPoolExecutor(thread_count()) as pool:
        sizes, grey = zip(*pool.map(describe, rows), strict=True)
        images = WholeImages(encoded, np.array(sizes, np.int64), np.array(grey))
        pixels = int(images.sizes.prod(1).sum())
        if pixels * _CHANNELS > memory_limit.decoded_limit():
            return images
        return replace(images, held=tuple(pool.map(images.pixels, rows)))
