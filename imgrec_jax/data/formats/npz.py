"""Read a data set from one `.npz` file of NumPy arrays.

| split | images and labels, in one of three ways                                      |
|-------|-------------------------------------------------------------------------------|
| train | `x_train`, `y_train`  |  `train_images`, `train_labels`  |  `images`, `labels`  |
| val   | `x_val`, `y_val`      |  `val_images`, `val_labels`      |                      |
| test  | `x_test`, `y_test`    |  `test_images`, `test_labels`    |                      |

Images are uint8[n, h, w] or uint8[n, h, w, c] with 1 to 4 channels, labels numbers or strings [n],
[n, 1] or one-hot [n, k], read as in `layout.labels`. `label_names` (strings [k]) is optional;
without it the classes are the labels that occur in train. Other names of splits are read too, such
as `X_valid` (`layout.split_names`).

Further arrays, numbers [n, ...] named by split and field, hold other inputs and targets of a task:
`train_tokens` and `test_tokens` give each example a field `tokens`. With such fields, images and
labels may be missing. Other arrays of strings ([k], such as `vocabulary`) are facts of the data
set, which checkpoints store. All else is ignored.
"""

import functools
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import existing_path
from imgrec_jax.data.files.size_limit import check_unpacked
from imgrec_jax.data.formats.npz_names import with_split_names
from imgrec_jax.data.images.resize import fit
from imgrec_jax.data.layout.labels import Label, number_labels, plain_labels
from imgrec_jax.data.sources.source import ArraySource, Splits

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # zipfile: a password is needed, or the compression is unknown
    MemoryError,  # a header claims more data than exists
    zipfile.BadZipFile,
    zlib.error,
)

_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels")),
    "val": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def open_npz(where: str, *, image_size: int = 0) -> Splits:
    """Open an `.npz` file with the arrays of the table above.

    Images become uint8[n, h, w, c]; grey ones keep their one channel.

    Args:
        where: path of the file; `~` is the home directory.
        image_size: 0 to keep the size of the images; s to make them s by s (see `resize.fit`).

    Raises:
        UsageError: no such path.
        UserError: the file is not such a data set, is damaged, holds pickled objects, or unpacks
            to more than `size_limit` allows.
    """
    path = existing_path(where, "npz")
    if not zipfile.is_zipfile(path):
        raise _wrong(path, "an intact .npz file", "another kind of file", "np.savez")
    try:
        with zipfile.ZipFile(path) as file:
            check_unpacked(sum(member.file_size for member in file.infolist()), path)
        with np.load(path, allow_pickle=False) as arrays:
            read = with_split_names(dict(arrays), path)
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise _wrong(
                path, "plain arrays", "pickled objects", "saving without dtype=object"
            ) from error
        raise _wrong(path, "an intact .npz file", str(error), "saving it again") from error
    splits, facts = _read_splits(read, path), _facts(read)
    labels, label_names = _number_labels(splits, read.get("label_names"), path)
    return {
        split: ArraySource(
            None if part.images is None else _fit_all(part.images, image_size),
            labels[split],
            label_names,
            targets=part.targets,
            facts=facts,
        )
        for split, part in splits.items()
    }


class _Part(NamedTuple):
    """The arrays of a split; `labels` as stored, with the name of their array."""

    images: np.ndarray | None
    labels: np.ndarray
    key: str
    targets: dict[str, np.ndarray]


def _number_labels(
    splits: Mapping[str, _Part], names: np.ndarray | None, path: Path
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the labels, int32[n], and the names of the classes; none has no label."""

    def place(split: str, row: int) -> str:
        return f"{path}, '{splits[split].key}', row {row}"

    values: dict[str, list[Label]] = {}
    for split, part in splits.items():
        values[split] = plain_labels(part.labels.tolist(), functools.partial(place, split))
        if None in values[split]:
            row = values[split].index(None)
            raise UserError(
                f"expected a label for each image, got {part.labels[row]} in {place(split, row)}; "
                "try removing the images without a label"
            )
    return number_labels(values, _label_names(names, path), place)


def _read_splits(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, _Part]:
    splits: dict[str, _Part] = {}
    for split, ways in _KEYS.items():
        targets = _targets(arrays, split, path)
        present = [pair for pair in ways if pair[0] in arrays or pair[1] in arrays]
        if len(present) > 1:
            raise _wrong(path, f"one pair of arrays for {split}", f"{present}", "removing one")
        if present:
            images_key, labels_key = present[0]
            images, labels = _pair(arrays, images_key, labels_key, path)
            splits[split] = _Part(images, labels, labels_key, targets)
        elif targets:
            count = len(next(iter(targets.values())))
            splits[split] = _Part(None, np.zeros(count, np.int32), "", targets)
        if present or targets:
            _check_lengths(splits[split], split, path)
    if not splits:
        found = ", ".join(arrays) or "nothing"
        raise _wrong(path, "arrays named x_train and y_train", found, "renaming them")
    shapes = {
        split: part.images.shape[1:] for split, part in splits.items() if part.images is not None
    }
    if len(set(shapes.values())) > 1:
        raise _wrong(path, "images of one shape", f"{shapes}", "resizing them before saving")
    return splits


def _pair(
    arrays: Mapping[str, np.ndarray], images_key: str, labels_key: str, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    for key in (images_key, labels_key):
        if key not in arrays:
            raise _wrong(path, f"'{images_key}' with '{labels_key}'", f"no '{key}'", key)
    images = _check_images(arrays[images_key], images_key, path)
    labels = _check_labels(arrays[labels_key], labels_key, path)
    if len(images) != len(labels):
        raise _wrong(
            path,
            "a label for each image",
            f"{len(images)} in '{images_key}' and {len(labels)} in '{labels_key}'",
            "saving them from one list",
        )
    return images, labels


def _targets(arrays: Mapping[str, np.ndarray], split: str, path: Path) -> dict[str, np.ndarray]:
    """Return the further fields of a split, by name without the split."""
    own = {name for pair in _KEYS[split] for name in pair}
    names = [n for n in arrays if n.startswith(f"{split}_") and n not in own]
    found = {name.removeprefix(f"{split}_"): arrays[name] for name in names}
    for name, array in found.items():
        if array.ndim < 1 or array.dtype.kind not in "biuf":
            raise _wrong(
                path,
                f"'{split}_{name}' to be numbers [n, ...]",
                f"{array.dtype} {list(array.shape)}",
                "numbers, and what they stand for in an array of strings",
            )
    return found


def _check_lengths(part: _Part, split: str, path: Path) -> None:
    for name, array in part.targets.items():
        if len(array) != len(part.labels):
            raise _wrong(
                path,
                f"as many rows in '{split}_{name}' as examples",
                f"{len(array)} and {len(part.labels)}",
                "saving them from one list",
            )


def _facts(arrays: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Return the lists of strings that are neither label names nor fields."""
    return {
        name: array.tolist()
        for name, array in arrays.items()
        if name != "label_names" and array.dtype.kind == "U" and array.ndim == 1
    }


def _check_images(images: np.ndarray, key: str, path: Path) -> np.ndarray:
    stacked = images[..., None] if images.ndim == 3 else images
    whole = stacked.ndim == 4 and stacked.size > 0 and stacked.shape[-1] <= 4
    if images.dtype != np.uint8 or not whole:
        raise _wrong(
            path,
            f"'{key}' to be uint8 [n, h, w] or [n, h, w, 1 to 4 channels]",
            f"{images.dtype} {list(images.shape)}",
            "pixels from 0 to 255 with .astype(np.uint8), channels last",
        )
    return stacked


def _check_labels(labels: np.ndarray, key: str, path: Path) -> np.ndarray:
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "biufSU":
        raise _wrong(
            path,
            f"'{key}' to be numbers or strings [n], [n, 1] or one-hot [n, k]",
            f"{labels.dtype} {list(labels.shape)}",
            "class numbers from 0 on",
        )
    return labels


def _label_names(names: np.ndarray | None, path: Path) -> tuple[str, ...]:
    """Return the class names in the file; () if it has none."""
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind != "U":
        raise _wrong(
            path,
            "'label_names' to be strings [k]",
            f"{names.dtype} {list(names.shape)}",
            "np.array([...], dtype=str)",
        )
    return tuple(map(str, names))


def _fit_all(images: np.ndarray, image_size: int) -> np.ndarray:
    return np.stack([fit(image, image_size) for image in images]) if image_size else images


def _wrong(path: Path, expected: str, got: str, hint: str) -> UserError:
    return UserError(f"expected {expected}, got {got} in {path}; try {hint}")
