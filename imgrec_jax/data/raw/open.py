"""Open the images of a source as stored; see `Images`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.fields import BOX_FLAG, BOX_LABEL, BOXES, PLACED, of_kind
from imgrec_jax.data.files.access import existing_path, read_files
from imgrec_jax.data.formats.folder import Labelling, find_images
from imgrec_jax.data.formats.huggingface import find_tables
from imgrec_jax.data.formats.tfds import open_records
from imgrec_jax.data.formats.tfds_records import read_labels
from imgrec_jax.data.raw.items import Images, LazyRows, StoredImages
from imgrec_jax.data.sources.encoded import EncodedSource, stored_images
from imgrec_jax.data.sources.source import ArraySource, Source, Splits, targets_of

MAX_HELD_BYTES = 2 << 30
"""The largest size of a compressed tar's files that are held in memory."""


def folder_images(where: str, labelling: Labelling) -> dict[str, Images]:
    """Return the images of a folder or archive; see `open_folder` for the supported layouts.

    Raises:
        UsageError, UserError: as `open_folder` does.
    """
    found = find_images(where, labelling)
    splits = {}
    for split, names in found.layout.names.items():
        root = found.root(split)
        labels, label_names = found.layout.labels[split], found.layout.label_names
        if stored := stored_images(root, names):
            splits[split] = _lazy(stored, labels, label_names)
        else:
            splits[split] = Images(_hold(root, names), str(root), labels, label_names, names)
    return splits


def record_images(folder: Path) -> dict[str, Images]:
    """Return the images of a prepared TFDS set or of a pack; see `open_array_record`.

    Raises:
        UserError: the set is damaged, or is not a set of images with one class each.
    """
    return {
        split: _lazy(records, read_labels(records), records.label_names)
        for split, records in open_records(folder).items()
    }


def parquet_images(where: str, columns: str = "") -> dict[str, Images]:
    """Return the images of Parquet files; see `open_parquet`.

    Raises:
        UsageError, UserError: as `open_parquet` does.
    """
    found = find_tables(existing_path(where, "parquet"), columns)
    return {
        split: _lazy(table, found.labels[split], found.label_names)
        for split, table in found.tables.items()
    }


def source_images(splits: Splits, where: str) -> dict[str, Images]:
    """Return the images of any source: encoded if it has them encoded, else decoded."""
    return {split: _any_images(source, f"{where} {split}") for split, source in splits.items()}


def _any_images(source: Source, where: str) -> Images:
    targets = targets_of(source)
    boxes = of_kind(targets, BOXES, BOX_FLAG, BOX_LABEL) if "box_mask" in targets else {}
    if isinstance(source, ArraySource) and source.images is not None:
        decoded, names = source.images, source.label_names
        return Images(decoded, where, source.labels, names, boxes=boxes)
    encoded = _Decoded(source, where)
    # Boxes and label maps were scaled to the size of the decoded image.
    if isinstance(source, EncodedSource) and not of_kind(targets, *PLACED):
        encoded = source.encoded
    return replace(_lazy(encoded, source.labels, source.label_names), boxes=boxes)


def _lazy(images: StoredImages, labels: np.ndarray, label_names: tuple[str, ...]) -> Images:
    return Images(LazyRows(images, range(len(images))), "", labels, label_names)


@dataclass(frozen=True)
class _Decoded:
    """The images of a source that has them only in decoded form."""

    source: Source
    where: str

    def __len__(self) -> int:
        return len(self.source)

    def name(self, row: int) -> str:
        return f"{self.where}[{row}]"

    def read(self, rows: Sequence[int]) -> Sequence[np.ndarray]:
        return [example["image"] for example in self.source.__getitems__(rows)]


def _hold(root: Path, names: Sequence[str]) -> list[bytes]:
    """Read files of an archive into memory in one sequential pass."""
    held: dict[str, bytes] = {}
    size = 0
    for name, data in read_files(root, frozenset(names)):
        size += len(data)
        if size > MAX_HELD_BYTES:
            raise UserError(
                f"expected a compressed archive of at most {MAX_HELD_BYTES:,} bytes of images, "
                f"got more in {root}; try unpacking it and folder:FOLDER"
            )
        held[name] = data
    return [held[name] for name in names]
