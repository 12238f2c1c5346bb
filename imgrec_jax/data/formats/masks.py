"""Read images with label images, for segmentation."""

import functools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Unpack

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.access import full_name, read_files
from imgrec_jax.data.formats.mask_files import find_masks
from imgrec_jax.data.formats.mask_inference import ValueCounts, count_values, values_of
from imgrec_jax.data.formats.mask_values import MaskValues
from imgrec_jax.data.images.decode import Form, decode
from imgrec_jax.data.images.label_image import Shape, check_sizes, decode_mask, nearest
from imgrec_jax.data.images.resize import fit, stretch
from imgrec_jax.data.layout.mask_pairs import Pair
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import image_dtype, thread_count
from imgrec_jax.data.sources.source import ArraySource, Splits

Reader = Callable[[Collection[str]], Iterator[tuple[str, bytes]]]
"""Yields name and contents of wanted files, in any order."""


def open_masks(
    where: str, values: str = "", shape: Shape | None = None, **form: Unpack[Form]
) -> Splits:
    """Open images with label images of a folder or archive, paired by `mask_pairs`.

    Classes come from `values` (see `mask_values.read_mask_values`), a `classes.txt` at the top
    or one folder below, the layouts of Pascal VOC and Cityscapes (see `known_masks`), or the values
    that occur in the masks of train (see `mask_inference.values_of`). Examples hold `label_map`
    (uint8[h, w], `fields.IGNORE` where the class is unknown); `label` is 0. All images are decoded
    into memory.

    Args:
        where: path; `~` is the home directory.
        values: the setting `data.mask_values`.
        shape: height and width to resize images (as `resize.stretch`) and masks (nearest) to.
        form: the form to convert images to; an image_size crops the same square from both.

    Raises:
        UsageError: no such path, an impossible table, images of several sizes and no shape.
        UserError: a mask is missing, of another size than its image, or has unknown values;
            a file is damaged; the data set does not fit in memory.
    """
    found = find_masks(where, values)
    read = functools.partial(read_files, found.root)
    return {**read_masks(found.root, found.pairs, found.table, shape, form, read)}


def read_masks(
    root: Path,
    pairs: Mapping[str, list[Pair]],
    table: MaskValues | None,
    shape: Shape | None,
    form: Form,
    read: Reader,
) -> dict[str, ArraySource]:
    """Decode the pairs of each split into memory; see `open_masks`.

    Args:
        root: the root of the names, for messages.
        pairs: by split, the names of an image and its label image.
        table: the meaning of values; None = classes are named by the values of train.
        shape: height and width to resize both to.
        form: the form to convert images to.
        read: reads the files with the given names.

    Raises:
        UsageError, UserError: as in `open_masks`.
    """
    return _Reading(root, pairs, table, shape, form, read).read()


class _Reading:
    """One pass over the files of a data set, into arrays allocated at the first image."""

    def __init__(
        self,
        root: Path,
        pairs: Mapping[str, list[Pair]],
        table: MaskValues | None,
        shape: Shape | None,
        form: Form,
        read: Reader,
    ) -> None:
        self._root, self._pairs, self._table = root, pairs, table
        self._shape, self._form, self._read = shape, form, read
        self._places = {
            name: (split, row, name == pair.mask)
            for split, listed in pairs.items()
            for row, pair in enumerate(listed)
            for name in pair
        }
        self._images: dict[str, np.ndarray] = {}
        self._maps: dict[str, np.ndarray] = {}
        self._sizes: dict[str, Shape] = {}
        self._counts: dict[str, ValueCounts] = {}  # of masks whose values have no meaning yet

    def read(self) -> dict[str, ArraySource]:
        for name, pixels, size in self._decoded(self._places):
            split, row, is_mask = self._places[name]
            self._sizes[name] = size
            if not self._images:
                self._allocate(pixels.shape[:2])
            target = self._maps[split] if is_mask else self._images[split]
            if pixels.shape[:2] != target.shape[1:3]:
                self._check_pair(split, row)
                raise self._sizes_differ(name, pixels.shape[:2], target.shape[1:3])
            target[row] = pixels
        for split, pairs in self._pairs.items():
            for row in range(len(pairs)):
                self._check_pair(split, row)
        first = next(iter(self._pairs.values()))
        table = self._table or values_of((self._counts[p.mask] for p in first), str(self._root))
        return {split: self._source(split, table) for split in self._pairs}

    def _source(self, split: str, table: MaskValues) -> ArraySource:
        raw = self._maps[split]
        if self._table is None:  # values are stored unchanged until all are known
            maps = np.empty(raw.shape, np.uint8)
            for row, pair in enumerate(self._pairs[split]):
                maps[row] = table.apply(raw[row], full_name(self._root, pair.mask))
            raw = maps
        labels = np.zeros(len(raw), np.int32)
        return ArraySource(
            self._images[split], labels, table.label_names, targets={"label_map": raw}
        )

    def _decoded(self, requested: Collection[str]) -> Iterator[tuple[str, np.ndarray, Shape]]:
        """Yield name, pixels and original size of the wanted files, decoded by several threads."""
        pending: deque[Future[tuple[str, np.ndarray, Shape]]] = deque()
        seen: set[str] = set()
        with ThreadPoolExecutor(thread_count()) as pool:
            for name, data in self._read(requested):
                if name in seen:  # an archive may hold a name twice
                    continue
                seen.add(name)
                pending.append(pool.submit(self._decode, name, data))
                if len(pending) > 4 * thread_count():
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _decode(self, name: str, data: bytes) -> tuple[str, np.ndarray, Shape]:
        full = full_name(self._root, name)
        if not self._places[name][2]:
            form = {**self._form, "image_size": 0}
            image = decode(data, full, **form)  # pyright: ignore[reportArgumentType]
            size = image.shape[:2]
            if side := self._form.get("image_size"):
                image = fit(image, side)
            return name, stretch(image, self._shape) if self._shape else image, size
        mask = decode_mask(data, full, colors=bool(self._table and self._table.colors))
        size = mask.shape
        # Values are looked up before resizing, so that none is missed.
        if self._table is not None:
            mask = self._table.apply(mask, full)
        else:
            self._counts[name] = count_values(mask)
        if side := self._form.get("image_size"):
            least = min(size)
            top, left = (size[0] - least) // 2, (size[1] - least) // 2
            mask = nearest(mask[top : top + least, left : left + least], (side, side))
        return name, nearest(mask, self._shape) if self._shape else mask, size

    def _allocate(self, shape: Shape) -> None:
        dtype, channels = image_dtype(self._form), self._form.get("channels") or 3
        wide = np.dtype(np.uint8 if self._table else np.int32)
        count = sum(map(len, self._pairs.values()))
        need = count * shape[0] * shape[1] * (channels * dtype.itemsize + wide.itemsize)
        if need > memory_limit.decoded_limit():
            raise UserError(
                f"expected at most {memory_limit.decoded_limit():,} bytes of decoded images and "
                f"masks, got {need:,} in {self._root}; try a smaller --config.data.image_shape"
            )
        for split, pairs in self._pairs.items():
            self._images[split] = np.empty((len(pairs), *shape, channels), dtype)
            self._maps[split] = np.empty((len(pairs), *shape), wide)

    def _check_pair(self, split: str, row: int) -> None:
        pair = self._pairs[split][row]
        sizes = [self._sizes.get(name) for name in pair]
        if sizes[0] and sizes[1]:
            check_sizes(sizes[0], sizes[1], full_name(self._root, pair.mask))

    def _sizes_differ(self, name: str, size: Shape, expected: Shape) -> UsageError:
        return UsageError(
            f"expected images of one size, got {expected[1]}x{expected[0]} in the first and "
            f"{size[1]}x{size[0]} in {full_name(self._root, name)}; "
            f"try --config.data.image_shape={expected[0]}x{expected[1]}"
        )
