"""Pairs of a low and a high resolution, made from images, for super-resolution."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imgrec_jax.core import bicubic
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.random_streams import HostStream, host_bits
from imgrec_jax.data.images.resize import Area
from imgrec_jax.data.sources.encoded import thread_count
from imgrec_jax.data.sources.source import Example, Source, Splits
from imgrec_jax.data.sources.whole_images import WholeImages
from imgrec_jax.data.sources.wrapper import rebuilt

_MARGIN = 3  # low-resolution pixels that the antialiased kernel reaches, and one more
_DEPTH = 257  # from 8 to 16 bits: the rounding of the low resolution then does not count


@dataclass(frozen=True)
class ImagePairs:
    """Examples of `image` (uint16, low resolution) and `target_image` (uint8, high resolution).

    The low resolution is the bicubic one of `core.bicubic`, antialiased, rounded to 16 bits. In
    training an example is a random crop in one of eight orientations, a function of (seed, epoch,
    row). Otherwise it is the whole image, cut to multiples of the scale and padded (by mirroring)
    to the size that holds every image; `size` (int32[2]) is its height and width at the low
    resolution, and `grey` says whether it is stored with one channel.

    Attributes:
        images: of the high resolution.
        scale: the factor between both resolutions.
        patch: side of training crops in low-resolution pixels.
        seed: of the crops.
        held: the images at the low resolution; empty if they are made on demand.
    """

    images: WholeImages
    scale: int
    patch: int
    seed: int
    held: tuple[np.ndarray, ...] = field(default=(), repr=False)

    @property
    def labels(self) -> np.ndarray:
        return self.images.labels

    @property
    def label_names(self) -> tuple[str, ...]:
        return ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of a low-resolution training crop; networks take images of any size."""
        return self.patch, self.patch, 3

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"any_size": True, "scale": self.scale}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Example:
        """Return a whole image and its low resolution, without padding."""
        row = range(len(self))[row]
        target = _cut(self.images.pixels(row), self.scale)
        image = self.held[row] if self.held else _reduced(target, self.scale)
        return {
            "image": image,
            "target_image": target,
            "size": np.array(image.shape[:2], np.int32),
            "grey": self.images.grey[row],
        }

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return [self[row] for row in rows]

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        visits = list(zip(rows.tolist(), epochs.tolist(), strict=True))
        if visits and epochs.min() >= 0:
            make = self._crop
        else:
            height, width = (self.images.sizes.max(0) // self.scale).tolist()

            def make(row: int, epoch: int) -> Example:
                del epoch
                return _padded(self[row], height, width, self.scale)

        if self.held or len(visits) < 2 or thread_count() < 2:
            examples = [make(*visit) for visit in visits]
        else:
            with ThreadPoolExecutor(thread_count()) as pool:
                examples = list(pool.map(lambda visit: make(*visit), visits))
        return {name: np.stack([e[name] for e in examples]) for name in examples[0]}

    def _crop(self, row: int, epoch: int) -> Example:
        whole, scale, patch = self.images.pixels(row), self.scale, self.patch
        bits = host_bits(HostStream.PAIRS, (self.seed, epoch), part=row).random_raw(4)
        room = np.array(whole.shape[:2]) // scale - patch + 1
        top, left = (int(value >> 11) * int(n) >> 53 for value, n in zip(bits, room, strict=False))
        area = Area(top, left, patch, patch)
        if self.held:
            image = self.held[row][top : top + patch, left : left + patch]
        else:
            image = _reduced_part(_cut(whole, scale), area, scale)
        target = whole[scale * top : scale * (top + patch), scale * left : scale * (left + patch)]
        turned = int(bits[2] >> 62), bool(bits[3] >> 63)
        return {"image": _oriented(image, *turned), "target_image": _oriented(target, *turned)}


def make_pairs(splits: Splits, scale: int, patch: int, seed: int) -> Splits:
    """Return splits of `WholeImages` as pairs.

    Raises:
        UsageError: the splits hold no whole images.
        UserError: an image is smaller than the scale, or a training image than the patch.
    """

    def paired(source: Source, least: int) -> Source:
        if not isinstance(source, WholeImages):
            raise UsageError(
                "expected a data.source of images for pairs of two resolutions, got another one; "
                "try folder:PATH or super_resolution:PATH"
            )
        for row in np.flatnonzero(source.sizes.min(1) < least)[:1].tolist():
            height, width = source.sizes[row]
            raise UserError(
                f"expected images of at least {least}x{least} pixels, got {width}x{height} in "
                f"{source.name(row)}; try a smaller --config.task.super_resolution.patch"
            )
        whole = (_cut(image, scale) for image in source.held)
        held = tuple(_reduced(image, scale) for image in whole)
        return ImagePairs(source, scale, patch, seed, held)

    return {
        name: rebuilt(source, lambda s, n=name: paired(s, scale * (patch if n == "train" else 1)))
        for name, source in splits.items()
    }


def _cut(image: np.ndarray, scale: int) -> np.ndarray:
    """Return the largest part from the upper left corner whose sides divide by the scale."""
    height, width = (side // scale * scale for side in image.shape[:2])
    return image[:height, :width]


def _reduced(image: np.ndarray, scale: int) -> np.ndarray:
    low = bicubic.downscale(image.astype(np.float32), scale)
    return np.rint(low.clip(0, 255) * _DEPTH).astype(np.uint16)


def _reduced_part(whole: np.ndarray, area: Area, scale: int) -> np.ndarray:
    """Return a part of the low resolution, from the high resolution around it alone."""
    height, width = (side // scale for side in whole.shape[:2])
    top, left = max(area.top - _MARGIN, 0), max(area.left - _MARGIN, 0)
    bottom = min(area.top + area.height + _MARGIN, height)
    right = min(area.left + area.width + _MARGIN, width)
    around = whole[scale * top : scale * bottom, scale * left : scale * right]
    first, start = area.top - top, area.left - left
    return _reduced(around, scale)[first : first + area.height, start : start + area.width]


def _oriented(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(image, quarters)
    return turned[:, ::-1] if mirrored else turned


def _padded(example: Example, height: int, width: int, scale: int) -> Example:
    """Return a whole example padded by mirroring, so that bicubic enlargement sees no edge."""

    def pad(image: np.ndarray, factor: int) -> np.ndarray:
        missing = [(0, factor * height - image.shape[0]), (0, factor * width - image.shape[1])]
        return np.pad(image, [*missing, (0, 0)], mode="symmetric")

    image, target = pad(example["image"], 1), pad(example["target_image"], scale)
    return {**example, "image": image, "target_image": target}
