"""Data sets of pictures with boxes, whatever file format tells of them."""

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.access import full_name, read_files
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.files.archive_index import compressed, index_archive
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.resize import stretch
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.box_annotations import Scene, check_limit, clean, pack
from imgrec_jax.data.sources.encoded import EncodedPictures, stored_pictures, thread_count
from imgrec_jax.data.sources.source import ArraySource, Example, Source, Splits

_CHUNK = 256  # pictures decoded at once on the way into memory
_CHANNELS = 3


@dataclass(frozen=True)
class DetectionSource:
    """Pictures that are decoded and stretched when they are asked for, with their boxes.

    Attributes:
        pictures: where the pictures are.
        sizes: int[n, 2], the (height, width) that the annotation of each tells.
        label_names: the labels of boxes.
        image_shape: what pictures are brought to.
        targets: the arrays of `things.pack`.
    """

    pictures: EncodedPictures
    sizes: np.ndarray
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    targets: Mapping[str, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """Zeros: pictures have no class of their own."""
        return np.zeros(len(self), np.int32)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([range(len(self))[row]])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        with ThreadPoolExecutor(thread_count()) as pool:
            images = list(pool.map(self._image, rows, self.pictures.read(rows)))
        return [
            {
                "image": image,
                "label": np.int32(0),
                **{name: array[row] for name, array in self.targets.items()},
            }
            for row, image in zip(rows, images, strict=True)
        ]

    def _image(self, row: int, data: bytes) -> np.ndarray:
        name = self.pictures.name(row)
        image = decode(data, name)
        height, width = self.sizes[row]
        if image.shape[:2] != (height, width):
            raise UserError(
                f"expected a picture of {width}x{height} as its annotation says, got "
                f"{image.shape[1]}x{image.shape[0]} in {name}; try mending the annotation"
            )
        return stretch(image, self.image_shape[:2])


@dataclass(frozen=True)
class _HeldPictures:
    """Files of a compressed tar, still encoded, in memory."""

    root: Path
    names: Names
    data: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.data)

    def name(self, row: int) -> str:
        return f"{self.root}: {readable(self.names[row])}"

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [self.data[row] for row in rows]


def open_scenes(
    root: Path,
    scenes: Mapping[str, Sequence[Scene]],
    label_names: Sequence[str],
    shape: tuple[int, int] | None,
    max_boxes: int,
    pictures: Mapping[str, EncodedPictures] | None = None,
) -> Splits:
    """Return the splits of a folder or archive, given what is annotated in their pictures.

    Small sets are decoded into memory at once (`memory` tells how large); of others the pictures
    are decoded as they are used.

    Args:
        root: the folder or archive.
        scenes: by split; names are relative to `root`.
        label_names: all labels that boxes may have.
        shape: (height, width) that pictures are stretched to, with their boxes; None where all
            have one size, and keep it.
        max_boxes: of a picture.
        pictures: by split, where they are no files of their own.

    Raises:
        UsageError: a picture has more boxes, or sizes differ and no shape is given.
        UserError: a box is impossible, a picture is damaged, or an archive is too large.
    """
    shape = shape or _common_size(root, scenes)
    image_shape = (*shape, _CHANNELS)
    total = sum(map(len, scenes.values()))
    in_memory = total * int(np.prod(image_shape)) <= memory_limit.decoded_limit()
    if not (in_memory or pictures or root.is_dir() or index_archive(root)):
        raise compressed(root, memory_limit.decoded_limit())
    cleaned = {split: clean(found, f"{root} {split}") for split, found in scenes.items()}
    check_limit(itertools.chain.from_iterable(cleaned.values()), max_boxes)
    splits: dict[str, Source] = {}
    for split, found in cleaned.items():
        source = DetectionSource(
            pictures[split] if pictures else _pictures(root, [scene.name for scene in found]),
            np.array([[scene.height, scene.width] for scene in found], np.int64),
            tuple(label_names),
            image_shape,
            pack(found, label_names, shape, max_boxes),
        )
        splits[split] = _load(source) if in_memory else source
    return splits


def _common_size(root: Path, scenes: Mapping[str, Sequence[Scene]]) -> tuple[int, int]:
    first: Scene | None = None
    for scene in (scene for split in scenes.values() for scene in split):
        first = first or scene
        if (scene.width, scene.height) != (first.width, first.height):
            raise UsageError(
                f"expected pictures of one size in {root}, got {first.width}x{first.height} in "
                f"{first.name} and {scene.width}x{scene.height} in {scene.name}; "
                f"try --config.data.image_shape={first.height}x{first.width}"
            )
    assert first is not None  # a data set has pictures
    return first.height, first.width


def _pictures(root: Path, names: Sequence[str]) -> EncodedPictures:
    if stored := stored_pictures(root, Names.of(names)):
        return stored
    data = dict(read_files(root, frozenset(names)))
    if missing := [name for name in names if name not in data]:
        raise UserError(
            f"expected the picture {full_name(root, missing[0])}, got none; try another copy"
        )
    return _HeldPictures(root, Names.of(names), [data[name] for name in names])


def _load(source: DetectionSource) -> ArraySource:
    """Decode a whole data set into memory."""
    images = np.empty((len(source), *source.image_shape), np.uint8)
    for start in range(0, len(source), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(source)))
        for row, example in zip(rows, source.__getitems__(rows), strict=True):
            images[row] = example["image"]
    return ArraySource(images, source.labels, source.label_names, targets=source.targets)
