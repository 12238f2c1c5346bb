"""Write the metadata that makes a folder of ArrayRecord shards a TFDS data set."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UserError

CHECKSUMS = "checksums.sha256"

DRAFT_SUFFIX = ".part"
"""Of a file that is being written, until it is renamed."""

_NAME = "images"  # the same for every pack, so that its folder can be renamed
_SPLITS = {"val": "validation"}  # TFDS's names of splits
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_FEATURES = "tensorflow_datasets.core.features"


class ShardFile(NamedTuple):
    """A finished shard: its name, its images, its size in bytes and its SHA-256."""

    name: str
    examples: int
    size: int
    sha256: str


def shard_name(split: str, index: int, number: int) -> str:
    """Return the file name of the shard `index` of `number`."""
    return f"{_NAME}-{_SPLITS.get(split, split)}.array_record-{index:05d}-of-{number:05d}"


def check_label_names(label_names: Sequence[str]) -> None:
    """Raise an error if TFDS cannot store the class names, which it writes one per line.

    Raises:
        UserError: a name is empty, has a line break or spaces around it, or occurs twice.
    """
    for name in label_names:
        if name != name.strip() or len(name.splitlines()) != 1:
            raise UserError(
                f"expected class names of one line without spaces around them, got {name!r}; "
                "try renaming the class"
            )
    if len(set(label_names)) < len(label_names):
        twice = next(name for name in label_names if list(label_names).count(name) > 1)
        raise UserError(
            f"expected distinct class names, got {twice!r} twice; try renaming the class"
        )


def write_description(
    folder: Path,
    splits: Mapping[str, Sequence[ShardFile]],
    shape: tuple[int, int, int],
    dtype: str,
    label_names: Sequence[str],
) -> None:
    """Write metadata of finished shards, so that `tfds.builder_from_directory(folder)` reads them.

    `dataset_info.json` is written last: if it exists, the set is complete. `checksums.sha256`
    has a line for each file, in the format of `sha256sum --check`.

    Args:
        folder: the folder of the shards.
        splits: the shards of each split, in order.
        shape: height, width and channels of the images; -1 = they differ.
        dtype: of their pixels.
        label_names: the class names, in the order of the labels.
    """
    texts = {
        "features.json": _json(_features(shape, dtype, len(label_names))),
        "label.labels.txt": "".join(f"{name}\n" for name in label_names),
        "dataset_info.json": _json(_dataset_info(splits)),
    }
    sums = {file.name: file.sha256 for files in splits.values() for file in files}
    sums |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    for name, text in {CHECKSUMS: lines, **texts}.items():
        write_text(folder / name, text)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    draft = path.with_name(f"{path.name}{DRAFT_SUFFIX}")
    with draft.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _features(shape: tuple[int, int, int], dtype: str, classes: int) -> dict[str, Any]:
    image = {"shape": {"dimensions": [str(size) for size in shape]}, "dtype": dtype}
    return {
        "pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {"pythonClassName": f"{_FEATURES}.image_feature.Image", "image": image},
                "label": {
                    "pythonClassName": f"{_FEATURES}.class_label_feature.ClassLabel",
                    "classLabel": {"numClasses": str(classes)},
                },
            }
        },
    }


def _dataset_info(splits: Mapping[str, Sequence[ShardFile]]) -> dict[str, Any]:
    keys = [{"featureKey": "image"}, {"featureKey": "label"}]
    return {
        "name": _NAME,
        "version": "1.0.0",
        "fileFormat": "array_record",
        "supervisedKeys": {"tuple": {"items": keys}},
        "splits": [
            {
                "name": _SPLITS.get(split, split),
                "filepathTemplate": _TEMPLATE,
                "numBytes": str(sum(file.size for file in files)),
                "shardLengths": [str(file.examples) for file in files],
            }
            for split, files in splits.items()
        ],
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
