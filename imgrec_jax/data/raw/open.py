"""Open the images of a source as stored; see `Images`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.fields import CLASSES_OF_PARTS, PLACED, of_kind
from imgrec_jax.data.files.access import existing_path, full_name, read_files
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.formats.folder import Labelling, find_images
from imgrec_jax.data.formats.huggingface import find_tables
from imgrec_jax.data.formats.mask_files import find_masks
from imgrec_jax.data.formats.mask_inference import ValueCounts, count_values, values_of
from imgrec_jax.data.formats.mask_values import NO_COLORS, NO_VALUES, MaskValues
from imgrec_jax.data.formats.tfds import open_records
from imgrec_jax.data.formats.tfds_records import read_labels
from imgrec_jax.data.raw.items import Images, LazyRows, RawMasks, Stored, StoredImages
from imgrec_jax.data.sources.box_annotations import pack
from imgrec_jax.data.sources.detection import Annotated, annotated_sizes
from imgrec_jax.data.sources.encoded import EncodedSource, stored_images
from imgrec_jax.data.sources.source import ArraySource, Source, Splits, facts_of, targets_of
from imgrec_jax.data.sources.subset import part_of

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


def mask_images(where: str, values: str = "") -> dict[str, Images]:
    """Return images with their label images; see `open_masks` for the supported layouts.

    Raises:
        UsageError, UserError: as `open_masks` does, but not for damaged files or unknown values.
    """
    found = find_masks(where, values)
    files = {
        split: (
            _files(found.root, [pair.image for pair in pairs]),
            _files(found.root, [pair.mask for pair in pairs]),
        )
        for split, pairs in found.pairs.items()
    }
    names = {
        split: [full_name(found.root, pair.mask) for pair in pairs]
        for split, pairs in found.pairs.items()
    }
    first = next(iter(files))
    table = found.table or _infer_table(files[first][1], names[first], str(found.root))
    splits = {}
    for split, (images, masks) in files.items():
        pairs = found.pairs[split]
        splits[split] = Images(
            images,
            str(found.root),
            np.zeros(len(pairs), np.int32),
            table.label_names,
            [pair.image for pair in pairs],
            fields={"label_map": RawMasks(masks, table, names[split])},
        )
    return splits


def box_images(found: Annotated) -> dict[str, Images]:
    """Return images with their boxes, in pixels of the images as stored.

    Raises:
        UserError: a box is impossible, or an image is missing.
    """
    found = found.cleaned()
    splits = {}
    for split, scenes in found.scenes.items():
        fullest = max(len(scene.annotations) for scene in scenes)
        stored = found.images(split)
        splits[split] = Images(
            LazyRows(stored, range(len(stored))),
            "",
            np.zeros(len(scenes), np.int32),
            tuple(found.label_names),
            fields=pack(scenes, found.label_names, None, fullest),
            sizes=annotated_sizes(scenes),
        )
    return splits


def source_images(splits: Splits, where: str) -> dict[str, Images]:
    """Return the examples of any source: encoded if it has them encoded, else decoded."""
    return {split: _any_images(source, f"{where} {split}") for split, source in splits.items()}


def select(
    splits: Mapping[str, Images], where: str, *, classes: str, examples_per_class: int, seed: int
) -> dict[str, Images]:
    """Return the classes and training examples that `subset.part_of` chooses.

    Raises:
        UsageError: as `part_of` does, or images have no class of their own.
    """
    if not classes and not examples_per_class:
        return dict(splits)
    if any(of_kind(images.fields, *CLASSES_OF_PARTS) for images in splits.values()):
        raise UsageError(
            f"expected data.classes='' and data.examples_per_class=0 for {where}, whose images "
            f"have no class of their own, got '{classes}' and {examples_per_class}; try without"
        )
    rows: Splits = {
        split: ArraySource(
            None, images.labels, images.label_names, targets={"row": np.arange(len(images))}
        )
        for split, images in splits.items()
    }
    chosen = part_of(rows, where, classes=classes, examples_per_class=examples_per_class, seed=seed)
    return {
        split: splits[split].take(targets_of(part)["row"], part.labels, part.label_names)
        for split, part in chosen.items()
    }


def _any_images(source: Source, where: str) -> Images:
    items: LazyRows | np.ndarray | None = None
    targets = targets_of(source)
    if isinstance(source, ArraySource):
        items = source.images
    else:
        # Boxes and label maps were scaled to the size of the decoded image.
        stored = _Decoded(source, where)
        if isinstance(source, EncodedSource) and not of_kind(targets, *PLACED):
            stored = source.encoded
        items = LazyRows(stored, range(len(source)))
    return Images(
        items, where, source.labels, source.label_names, fields=targets, facts=facts_of(source)
    )


def _infer_table(masks: Sequence[Stored], names: Sequence[str], where: str) -> MaskValues:
    """Return the meaning of values by the intact masks; colours have no meaning by themselves."""
    for raw in (RawMasks(masks, NO_VALUES, names), RawMasks(masks, NO_COLORS, names)):
        counts = [count for count in raw.map(count_values) if isinstance(count, ValueCounts)]
        if counts:
            return raw.table if raw.table.colors else values_of(counts, where)
    return NO_VALUES


def _files(root: Path, names: Sequence[str]) -> Sequence[Stored]:
    """Return files of a folder or archive: on demand, or all of a compressed tar."""
    stored = stored_images(root, Names.of(names))
    return LazyRows(stored, range(len(names))) if stored else _hold(root, names)


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
