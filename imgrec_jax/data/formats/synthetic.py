"""Synthetic images of any number and size, to plan or to time a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.source import Example, Splits

_DIFFERENT = 64  # distinct images, which are repeated
_MOST_EXAMPLES, _MOST_VALUES, _MOST_CLASSES = 10**8, 2**24, 10**5


@dataclass(frozen=True)
class SyntheticSource:
    """Noise images with cyclic labels.

    Attributes:
        size: number of examples.
        images: uint8[64, h, w, c], the images that are repeated.
        classes: number of classes.
    """

    size: int
    images: np.ndarray
    classes: int

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.size, dtype=np.int32) % self.classes

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.classes)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.images.shape[1:])  # pyright: ignore[reportReturnType]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: int) -> Example:
        return {"image": self.images[row % _DIFFERENT], "label": np.int32(row % self.classes)}

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self[row] for row in rows]


def open_synthetic(where: str) -> Splits:
    """Return the splits given by `N,HxWxC,CLASSES`, with a tenth as many images in test.

    For example, `synthetic:1281167,224x224x3,1000` has the size of ImageNet.

    Raises:
        UsageError: the text has another format, or numbers beyond the limits of this module.
    """
    found = re.fullmatch(r"(\d{1,9}),(\d{1,6})x(\d{1,6})x(\d{1,6}),(\d{1,6})", where)
    size, height, width, channels, classes = map(int, found.groups()) if found else [0] * 5
    sides, values = min(size, height, width, channels, classes), height * width * channels
    if sides < 1 or size > _MOST_EXAMPLES or values > _MOST_VALUES or classes > _MOST_CLASSES:
        raise UsageError(
            f"expected synthetic:N,HxWxC,CLASSES of at most {_MOST_EXAMPLES:,} images of "
            f"{_MOST_VALUES:,} values and {_MOST_CLASSES:,} classes, got 'synthetic:{where}'; "
            "try synthetic:1281167,224x224x3,1000"
        )
    bits = np.random.Philox(key=0).random_raw(_DIFFERENT * height * width * channels // 8 + 1)
    images = bits.view(np.uint8)[: _DIFFERENT * height * width * channels]
    images = images.reshape(_DIFFERENT, height, width, channels)
    return {
        "train": SyntheticSource(size, images, classes),
        "test": SyntheticSource(max(1, size // 10), images, classes),
    }
