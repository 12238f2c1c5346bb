"""Access Parquet files in the Hugging Face layout: encoded images in a column.

The image column is a struct `{bytes, path}` (or plain bytes). The label column holds strings,
or numbers with names in the file's metadata under "huggingface". Files are named
`train-00000-of-00002.parquet` or are in a folder `train`; if no file is, all are "train".
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import file_path, list_files
from imgrec_jax.data.files.size_limit import check_unpacked
from imgrec_jax.data.layout.split_names import SPLITS, split_in, split_of

_IMAGE_COLUMNS = ("image", "img", "jpg", "picture")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category", "target")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """The files of one split, read by row.

    Attributes:
        paths: the files.
        starts: int64[g + 1], the first row of each row group, counted over all files.
        file_of, group_of: int64[g], the file of each row group and its index there.
        image: the column with the images.
        rows: int64[n], the rows of the files that count as rows of this table.
    """

    paths: tuple[Path, ...]
    starts: np.ndarray
    file_of: np.ndarray
    group_of: np.ndarray
    image: str
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> "Table":
        """Return the table of some of its rows."""
        return replace(self, rows=self.rows[rows])

    def name(self, row: int) -> str:
        return self._name(int(self.rows[row]))

    def _name(self, row: int) -> str:
        file = self.file_of[np.searchsorted(self.starts, row, side="right") - 1]
        first = int(self.starts[np.searchsorted(self.file_of, file)])
        return f"{self.paths[file]}[{row - first}]"

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        """Return encoded images; this reads the whole row group of each."""
        indices = self.rows[np.asarray(rows, np.int64)]
        groups = np.searchsorted(self.starts, indices, side="right") - 1
        found: dict[int, bytes] = {}
        for group in np.unique(groups):
            with open_file(self.paths[self.file_of[group]]) as file:
                table = file.read_row_group(int(self.group_of[group]), columns=[self.image])
            column = table[self.image]
            for row in indices[groups == group].tolist():
                found[row] = self._bytes(column[row - int(self.starts[group])].as_py(), row)
        return [found[row] for row in indices.tolist()]

    def values(self, column: str) -> list[Any]:
        """Return a whole column (`a.b` for a field of a struct) of numbers or strings."""
        values: list[Any] = []
        for path in self.paths:
            with open_file(path) as file:
                chunks = file.read(columns=[column])
            array = chunks[column.partition(".")[0]]
            values += (
                array.combine_chunks().field(0).to_pylist()
                if "." in column
                else (array.to_pylist())
            )
        return [values[row] for row in self.rows.tolist()]

    def _bytes(self, value: Any, row: int) -> bytes:
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise UserError(
                f"expected the bytes of an image in the column '{self.image}', got none in "
                f"{self._name(row)}; try a copy of the set that holds its images"
            )
        return data


@dataclass(frozen=True)
class Columns:
    """The roles of the columns.

    Attributes:
        image, label: names of these columns.
        label_names: the class names of the numbers in the label column; empty = unknown.
        names: all columns.
    """

    image: str
    label: str
    label_names: tuple[str, ...]
    names: tuple[str, ...]


def find_files(path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each split of a folder, or the one file that `path` is.

    Raises:
        UserError: there are no such files.
    """
    names = sorted(list_files(path)) if path.is_dir() else [""]
    names = [name for name in names if not path.is_dir() or name.lower().endswith(".parquet")]
    by_split: dict[str, list[Path]] = {}
    for name in names:
        by_split.setdefault(_split_of(name or path.name), []).append(file_path(path, name))
    others = by_split.pop("", [])
    if others and not by_split:
        by_split["train"] = others
    elif others:
        names = ", ".join(other.name for other in others[:5])
        _logger.warning("%s: no split is named by %s: left out", path, names)
    if not by_split:
        raise UserError(
            f"expected files named like train-00000-of-00002.parquet in {path}, got none; "
            "try another path"
        )
    return {split: tuple(by_split[split]) for split in SPLITS if split in by_split}


def read_table(paths: tuple[Path, ...], image: str) -> Table:
    """Return the table of some files.

    Raises:
        UserError: a file is damaged, or unpacks to more than `size_limit` allows.
    """
    sizes, file_of, group_of = [], [], []
    for number, path in enumerate(paths):
        with open_file(path) as file:
            unpacked = 0
            for group in range(file.metadata.num_row_groups):
                sizes.append(file.metadata.row_group(group).num_rows)
                unpacked += file.metadata.row_group(group).total_byte_size
                check_unpacked(unpacked, path)
                file_of.append(number)
                group_of.append(group)
    starts = np.cumsum([0, *sizes])
    places = np.array(file_of, int), np.array(group_of, int)
    return Table(paths, starts, *places, image, rows=np.arange(starts[-1]))


def read_columns(path: Path, columns: str) -> Columns:
    """Return the roles of the columns of a file.

    Args:
        path: the file.
        columns: "IMAGE,LABEL"; empty = inferred from types and names.

    Raises:
        UserError: the file is damaged, or has no such columns.
    """
    with open_file(path) as file:
        schema = file.schema_arrow
    names = tuple(schema.names)
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features: dict[str, Any] = stored["info"]["features"] if stored else {}
        kinds = {n: f.get("_type") if isinstance(f, dict) else "" for n, f in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        features, kinds = {}, {}
    images = [name for name in names if kinds.get(name) == "Image"]
    labels = [name for name in names if kinds.get(name) == "ClassLabel"]
    image = _choose(images or names, _IMAGE_COLUMNS, only=bool(images))
    label = _choose(labels or names, _LABEL_COLUMNS, only=bool(labels))
    if columns:
        image, _, label = (part.strip() for part in columns.partition(","))
    if image not in names or label not in names:
        raise UserError(
            f"expected a column of images and one of labels in {path}, got {', '.join(names)}; "
            "try --config.data.columns=IMAGE,LABEL with the names of both"
        )
    label_names = features[label].get("names") or () if kinds.get(label) == "ClassLabel" else ()
    return Columns(image, label, tuple(map(str, label_names)), names)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """Open a `pyarrow.parquet.ParquetFile`; errors inside the context become a `UserError`.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"expected pyarrow to read {path}, got none installed; "
            "try pip install 'imgrec_jax[parquet]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"expected an intact Parquet file, got {path}: {why}; try downloading it again"
        ) from error


def _split_of(name: str) -> str:
    """Return the split in a file's name, or of the nearest folder that names one; "" if none."""
    *folders, file = name.split("/")
    return split_in(file) or next((s for f in reversed(folders) if (s := split_of(f))), "")


def _choose(names: Sequence[str], preferred: tuple[str, ...], *, only: bool) -> str:
    """Return the first preferred name that exists; else, with `only`, a single name; else ""."""
    present = [name for name in preferred if name in names]
    if not present and only and len(names) == 1:
        return names[0]
    return present[0] if present else ""
