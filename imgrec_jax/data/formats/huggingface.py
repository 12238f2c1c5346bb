"""Read Hugging Face image data sets from local Parquet files."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.cache.decoded import cached, content_key
from imgrec_jax.data.files.access import existing_path
from imgrec_jax.data.formats.parquet import Columns, Table, find_files, read_columns, read_table
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.layout.labels import number_labels, plain_labels
from imgrec_jax.data.layout.name_patterns import number_groups, number_keys
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource, decoded_bytes, first_shape, load
from imgrec_jax.data.sources.source import Splits

_logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """The contents of Parquet files.

    Attributes:
        tables: by split, the tables with the images.
        labels: by split, int32[n], -1 for none.
        label_names: the class names, in the order of the labels.
        columns: the roles of the columns.
    """

    tables: dict[str, Table]
    labels: dict[str, np.ndarray]
    label_names: tuple[str, ...]
    columns: Columns


def open_parquet(
    where: str, *, columns: str = "", group_by: str = "", **form: Unpack[Form]
) -> Splits:
    """Return the splits of a Parquet file or of a folder of them; see `parquet`.

    Sets that fit in memory when decoded (see `memory_limit`) are kept there, and in the cache. For
    larger sets each access to an image reads a whole row group (100 images and more); `data pack`
    makes a faster copy.

    Args:
        where: path of the file or folder; `~` is the home directory.
        columns: "IMAGE,LABEL", the names of the columns; empty = inferred from types and names.
        group_by: the name of a column, or a regular expression with one group, searched for in
            the images' paths: images of a group stay in one split.
        form: the form to convert images to; without an image_size they must have one size.

    Raises:
        UsageError: no such path, or images of several sizes without an image_size.
        UserError: pyarrow is not installed; a file is damaged or is not an image set.
    """
    path = existing_path(where, "parquet")
    found = find_tables(path, columns)
    tables, labels, label_names = dict(found.tables), dict(found.labels), found.label_names
    for split, numbers in found.labels.items():
        labelled = np.flatnonzero(numbers >= 0)
        if not len(labelled):
            _logger.warning("%s: the split %s has no labels and is left out", path, split)
            del labels[split]
        elif len(labelled) < len(numbers):
            _logger.warning(
                "%s: %d of %d rows of %s have no label and are left out",
                path, len(numbers) - len(labelled), len(numbers), split,
            )  # fmt: skip
            tables[split], labels[split] = tables[split].take(labelled), numbers[labelled]
    if not labels:
        raise UserError(f"expected labelled images in {path}, got none; try another path")
    shape = first_shape(tables[next(iter(labels))], form)
    sources = {
        split: EncodedSource(tables[split], labels[split], label_names, shape, form)
        for split in labels
    }
    if group_by and "train" in sources:
        groups = _number_groups(tables["train"], found.columns, group_by)
        sources["train"] = replace(sources["train"], groups=groups)
    images = sum(map(len, sources.values()))
    if decoded_bytes(images, shape, form) > memory_limit.decoded_limit():
        _logger.warning(
            "%s: too large for the memory; 'imgrec data pack parquet:%s --out=DIR' makes a copy "
            "that is quicker to read at random",
            path, path,
        )  # fmt: skip
        return {**sources}
    key = content_key([path], "parquet", sorted(form.items()), columns, label_names)
    arrays = cached(key, lambda: {split: load(source) for split, source in sources.items()})
    return {s: replace(array, groups=sources[s].groups) for s, array in arrays.items()}


def find_tables(path: Path, columns: str = "") -> Found:
    """Find the tables that `open_parquet` would open, without reading an image.

    Raises:
        UserError: as in `open_parquet`.
    """
    files = find_files(path)
    known = read_columns(next(iter(files.values()))[0], columns)
    tables = {split: read_table(paths, known.image) for split, paths in files.items()}
    tables = {split: table for split, table in tables.items() if len(table)}
    labels, label_names = _number_labels(tables, known)
    return Found(tables, labels, label_names, known)


def _number_labels(
    tables: dict[str, Table], known: Columns
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels of each split, int32[n] with -1 for none, and the names of the classes."""

    def place(split: str, row: int) -> str:
        return f"{tables[split].name(row)}, column '{known.label}'"

    values = {
        split: plain_labels(table.values(known.label), functools.partial(place, split))
        for split, table in tables.items()
    }
    return number_labels(values, known.label_names, place)


def _number_groups(table: Table, known: Columns, group_by: str) -> np.ndarray:
    if group_by in known.names:
        return number_keys(table.values(group_by))
    paths: Sequence[str | None] = table.values(f"{known.image}.path")
    return number_groups([path or "" for path in paths], group_by)
