"""TFDS sets that were prepared as ArrayRecord, read without TensorFlow.

TFDS itself answers an unprepared set by trying the network for minutes, and decodes pictures in
ways of its own: so the folder is looked for here, and the pictures are decoded by `decode`.
"""

import json
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.cache import cached, content_key
from imgrec_jax.data.decode import decode
from imgrec_jax.data.records import Records, RecordSource, load_records, read_labels
from imgrec_jax.data.source import ArraySource, Source, Splits

_logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<folder>\w+(/\w[\w.+-]*)?)(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_IN_MEMORY = 1 << 31  # decoded bytes of all splits; a larger set stays on the disk


class Prepared(NamedTuple):
    """A folder that TFDS has finished, and the file formats that it holds."""

    folder: Path
    formats: tuple[str, ...]


def open_tfds(where: str, data_dir: str = "", image_size: int = 0) -> Splits:
    """Return the splits of a prepared TFDS set: `train`, `test`, and `validation` as `val`.

    Sets of up to 2 GiB when decoded lie in memory (and in the cache); larger ones are decoded
    picture by picture when asked for. Grey sets are uint8[h, w, 1], all others uint8[h, w, 3].
    Nothing is ever downloaded.

    Args:
        where: `NAME`, `NAME/CONFIG`, either with `:1.2.3` for a version other than the newest.
        data_dir: where TFDS keeps its sets; empty = `tfds_home()`.
        image_size: side in pixels that every picture is brought to; 0 = they have one size.

    Raises:
        UsageError: `where` is no such name.
        UserError: the set is not there, not prepared as ArrayRecord, damaged, or no set of
            pictures with one class each.
    """
    home = tfds_home(data_dir)
    prepared = find_prepared(where, home)
    if not prepared:
        raise UserError(
            f"expected a prepared TFDS set '{where}' in {home}, got none with a "
            f"dataset_info.json{_beside(where, home)}; try --config.data.dir=DIR, or prepare it "
            "with TFDS and file_format='array_record'"
        )
    for folder, formats in prepared:
        if "array_record" in formats:
            return _read(folder, image_size)
    folder, formats = prepared[0]
    raise UserError(
        f"expected {folder} in the format array_record, got {', '.join(formats)}, which needs "
        "TensorFlow; try to prepare it with TFDS and file_format='array_record'"
    )


def tfds_home(data_dir: str = "") -> Path:
    """Return the folder of TFDS sets: `data_dir`, else TFDS_DATA_DIR, else the home's default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def find_prepared(where: str, home: Path) -> list[Prepared]:
    """Return what is prepared of a set, newest version first; see `open_tfds` for `where`."""
    name = _NAME.fullmatch(where)
    if not name:
        raise UsageError(
            f"expected tfds:NAME, tfds:NAME/CONFIG or either with :1.2.3, got '{where}'; "
            "try tfds:cifar10"
        )
    parent = home / name["folder"]
    versions = [name["version"]] if name["version"] else _versions(parent)
    infos = [parent / version / "dataset_info.json" for version in versions]
    return [Prepared(info.parent, _formats(info)) for info in infos if info.is_file()]


def _versions(folder: Path) -> list[str]:
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    versions = [name for name in names if _VERSION.fullmatch(name)]
    return sorted(versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def _formats(info: Path) -> tuple[str, ...]:
    try:
        content = json.loads(info.read_text(encoding="utf-8"))
        return (content.get("fileFormat", "tfrecord"), *content.get("alternativeFileFormats", ()))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"expected {info} to be the JSON that TFDS writes, got {error}; try to prepare the "
            "set again"
        ) from error


def _beside(where: str, home: Path) -> str:
    """Name the configs of the set, if it is because of a missing one that none was found."""
    infos = home.glob(f"{where.partition(':')[0]}/*/*/dataset_info.json")
    configs = sorted({info.parents[1].name for info in infos})
    return f" (but its configs {', '.join(configs)}: try tfds:{where}/CONFIG)" if configs else ""


def _read(folder: Path, image_size: int) -> Splits:
    splits = _records(folder, image_size)
    decoded = sum(len(split) * math.prod(split.image_shape) for split in splits.values())
    key = content_key([folder], "tfds", image_size, decoded <= _IN_MEMORY)
    if decoded <= _IN_MEMORY:
        arrays = cached(key, lambda: {name: load_records(r) for name, r in splits.items()})
        return _labelled(arrays, folder)
    _logger.info("%s: reading the labels of all records, once", folder)
    labels = cached(key, lambda: {name: _labels_only(r) for name, r in splits.items()})
    return _labelled({k: RecordSource(r, labels[k].labels) for k, r in splits.items()}, folder)


def _labels_only(records: Records) -> ArraySource:
    """Dress the labels of a large set for the cache: its pictures are all empty."""
    labels = read_labels(records)
    return ArraySource(np.zeros((len(labels), 0, 0, 0), np.uint8), labels, records.label_names)


def _labelled(splits: Mapping[str, Source], folder: Path) -> Splits:
    """Leave out splits without labels, which TFDS marks by -1 (the test split of ImageNet)."""
    labelled = {}
    for split, source in splits.items():
        if source.labels.min(initial=0) < 0:
            _logger.warning("%s: the split %s has no labels and is left out", folder, split)
        else:
            labelled[split] = source
    return labelled


def _records(folder: Path, image_size: int) -> dict[str, Records]:
    """Return the splits of a set by our names for them; at most one picture is read."""
    import tensorflow_datasets as tfds

    try:
        builder: Any = tfds.builder_from_directory(folder)
        features: dict[str, Any] = dict(builder.info.features.items())
        images = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
        classes = [k for k, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)]
        skip = {key: tfds.decode.SkipDecoding() for key in images}
        views = {
            ours: builder.as_data_source(theirs, decoders=skip, file_format="array_record")
            for theirs, ours in _SPLITS.items()
            if theirs in builder.info.splits
        }
        supervised = builder.info.supervised_keys or ()
    except Exception as error:  # whatever TFDS meets in the files of the folder
        reason = str(error).partition("\n")[0]
        raise _unusable(folder, "a set that TFDS can open", reason) from error
    image_key = _choose(images, (*supervised[:1], "image"))
    label_key = _choose(classes, (*supervised[1:], "label"))
    if not image_key or not label_key:
        got = ", ".join(sorted(features))
        raise _unusable(folder, "one picture and one class for each example", got)
    if features[image_key].np_dtype not in (np.uint8, np.uint16):
        raise _unusable(folder, "pictures of 8 or 16 bits", features[image_key].np_dtype)
    if not views:
        raise _unusable(folder, "a split train, validation or test", ", ".join(builder.info.splits))
    height, width, channels = features[image_key].shape
    if image_size:
        height = width = image_size
    elif height is None or width is None:  # then the first picture says it for all
        record = next(iter(views.values()))[0]
        height, width, _ = decode(record[image_key], f"{folder}[0]").shape
    return {
        split: Records(
            view=view,
            where=f"{folder} {split}",
            image_key=image_key,
            label_key=label_key,
            image_size=image_size,
            image_shape=(height, width, 1 if channels == 1 else 3),
            label_names=tuple(features[label_key].names),
        )
        for split, view in views.items()
    }


def _choose(keys: list[str], preferred: tuple[str, ...]) -> str:
    """Return the first of the preferred keys that is there, else the only key, else ""."""
    present = [key for key in preferred if key in keys]
    return (present or (keys if len(keys) == 1 else [""]))[0]


def _unusable(folder: Path, expected: str, got: object) -> UserError:
    return UserError(
        f"{folder}: expected {expected}, got {got}; try another set, or to prepare it again"
    )
