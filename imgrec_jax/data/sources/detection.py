"""Build detection data sets from box annotations of any file format."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.access import full_name, read_files
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.files.archive_index import compressed, index_archive
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.box_annotations import (
    Scene,
    check_limit,
    clean,
    pack,
    warn_of_relative,
)
from imgrec_jax.data.sources.encoded import (
    EncodedImages,
    EncodedSource,
    decoded_bytes,
    load,
    stored_images,
)
from imgrec_jax.data.sources.source import Source, Splits

_CHANNELS = 3


@dataclass(frozen=True)
class _HeldImages:
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


@dataclass(frozen=True)
class Annotated:
    """A data set of images with boxes, of which no image is read yet.

    Attributes:
        root: the folder or archive.
        scenes: by split; names are relative to `root`.
        label_names: all labels that boxes may have.
        stored: the images by split, if they are not separate files.
    """

    root: Path
    scenes: Mapping[str, Sequence[Scene]]
    label_names: Sequence[str]
    stored: Mapping[str, EncodedImages] | None = None

    def images(self, split: str) -> EncodedImages:
        """Return the images of a split, still encoded.

        Raises:
            UserError: one is missing, or the archive is damaged.
        """
        if self.stored:
            return self.stored[split]
        return _images(self.root, [scene.name for scene in self.scenes[split]])

    def cleaned(self) -> "Annotated":
        """Return the data set with impossible boxes refused and others cleaned; see `clean`."""
        warn_of_relative(itertools.chain.from_iterable(self.scenes.values()), str(self.root))
        scenes = {
            split: clean(found, f"{self.root} {split}") for split, found in self.scenes.items()
        }
        return replace(self, scenes=scenes)


def open_scenes(found: Annotated, shape: tuple[int, int] | None, max_boxes: int) -> Splits:
    """Return the splits of a data set, given the annotations of its images.

    Small sets are decoded into memory at once (`memory_limit` has the limit); images of larger
    sets are decoded on demand.

    Args:
        found: the annotations.
        shape: (height, width) to stretch images and boxes to; None if all images have one size,
            which they keep.
        max_boxes: of an image.

    Raises:
        UsageError: an image has more boxes, or sizes differ and no shape is given.
        UserError: a box is impossible, an image is damaged, or an archive is too large.
    """
    root = found.root
    shape = shape or _common_size(root, found.scenes)
    image_shape = (*shape, _CHANNELS)
    total = sum(map(len, found.scenes.values()))
    in_memory = decoded_bytes(total, image_shape, Form()) <= memory_limit.decoded_limit()
    if not (in_memory or found.stored or root.is_dir() or index_archive(root)):
        raise compressed(root, memory_limit.decoded_limit())
    found = found.cleaned()
    check_limit(itertools.chain.from_iterable(found.scenes.values()), max_boxes)
    splits: dict[str, Source] = {}
    for split, scenes in found.scenes.items():
        source = EncodedSource(
            found.images(split),
            np.zeros(len(scenes), np.int32),  # an image has no class of its own
            tuple(found.label_names),
            image_shape,
            Form(),
            targets=pack(scenes, found.label_names, shape, max_boxes),
            sizes=annotated_sizes(scenes),
        )
        splits[split] = load(source) if in_memory else source
    return splits


def annotated_sizes(scenes: Sequence[Scene]) -> np.ndarray:
    """Return int64[n, 2], the (height, width) of images in their annotations."""
    return np.array([[scene.height, scene.width] for scene in scenes], np.int64)


def _common_size(root: Path, scenes: Mapping[str, Sequence[Scene]]) -> tuple[int, int]:
    first: Scene | None = None
    for scene in (scene for split in scenes.values() for scene in split):
        first = first or scene
        if (scene.width, scene.height) != (first.width, first.height):
            raise UsageError(
                f"expected images of one size in {root}, got {first.width}x{first.height} in "
                f"{first.name} and {scene.width}x{scene.height} in {scene.name}; "
                f"try --config.data.image_shape={first.height}x{first.width}"
            )
    assert first is not None  # a data set has images
    return first.height, first.width


def _images(root: Path, names: Sequence[str]) -> EncodedImages:
    if stored := stored_images(root, Names.of(names)):
        return stored
    data = dict(read_files(root, frozenset(names)))
    if missing := [name for name in names if name not in data]:
        raise UserError(
            f"expected the image {full_name(root, missing[0])}, got none; try another copy"
        )
    return _HeldImages(root, Names.of(names), [data[name] for name in names])
