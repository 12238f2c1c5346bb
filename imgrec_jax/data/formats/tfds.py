"""Read TFDS sets that were prepared as ArrayRecord, without TensorFlow.

For an unprepared set TFDS itself tries the network for minutes, and it decodes images differently.
So this module finds the folder itself, and decodes the images with `decode`.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.parse_json import parse_json
from imgrec_jax.data.cache.decoded import cached, content_key
from imgrec_jax.data.files.access import existing_path, read_file
from imgrec_jax.data.formats.tfds_records import Records, read_labels
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.layout.split_names import SPLITS, split_of
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource, decoded_bytes, first_shape, load
from imgrec_jax.data.sources.source import ArraySource, Source, Splits

_logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<folder>\w+(/\w[\w.+-]*)?)(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Prepared(NamedTuple):
    """A folder that TFDS has completed, and the file formats in it."""

    folder: Path
    formats: tuple[str, ...]


class Opened(NamedTuple):
    """A prepared set.

    Attributes:
        features: TFDS's description of the fields of a record, by name.
        images: the features that are images.
        views: random access to the records of each split, by our names; images stay bytes.
        supervised: TFDS's input and target features, if specified.
    """

    features: dict[str, Any]
    images: list[str]
    views: dict[str, Any]
    supervised: tuple[str, ...]


_PREPARE = "pip install 'imgrec_jax[tfds-prepare]' and tfds build NAME --file_format=array_record"


def open_tfds(where: str, data_dir: str = "", **form: Unpack[Form]) -> Splits:
    """Return the splits of a prepared TFDS set: `train`, `test`, and `validation` as `val`.

    Sets that fit in memory when decoded (see `memory_limit`) are kept there, and in the cache;
    images of larger ones are decoded on demand. By default grey sets have one channel and all
    others three. Nothing is ever downloaded.

    Args:
        where: `NAME`, `NAME/CONFIG`, either with `:1.2.3` for a version other than the newest.
        data_dir: TFDS's folder of data sets; empty = `tfds_home()`.
        form: the form to convert images to; without an image_size they must have one size.

    Raises:
        UsageError: `where` is not such a name, or images of several sizes without an image_size.
        UserError: the set is missing, not prepared as ArrayRecord, damaged, or not a set of
            images with one class each.
    """
    return _read(prepared_folder(where, data_dir), form)


def prepared_folder(where: str, data_dir: str = "") -> Path:
    """Return the folder of a prepared TFDS set; see `open_tfds`.

    Raises:
        UsageError: `where` is not the name of a set.
        UserError: the set is missing, or not prepared as ArrayRecord.
    """
    home = tfds_home(data_dir)
    prepared = find_prepared(where, home)
    if not prepared:
        raise UserError(
            f"expected a prepared TFDS set '{where}' in {home}, got none with a "
            f"dataset_info.json{_beside(where, home)}; try --config.data.dir=DIR, or "
            f"{_PREPARE}"
        )
    for folder, formats in prepared:
        if "array_record" in formats:
            return folder
    raise _another_format(*prepared[0])


def open_array_record(where: str, **form: Unpack[Form]) -> Splits:
    """Return the splits of a folder of ArrayRecord shards, as `data pack` and TFDS write it.

    Args:
        where: the folder, with a `dataset_info.json`; `~` is the home directory.
        form: as in `open_tfds`.

    Raises:
        UsageError: no such path, or images of several sizes without an image_size.
        UserError: the folder is not such a data set, or is damaged.
    """
    return _read(record_folder(where), form)


def record_folder(where: str) -> Path:
    """Return a folder of ArrayRecord shards; see `open_array_record`.

    Raises:
        UsageError: no such path.
        UserError: the folder is not such a data set.
    """
    folder = existing_path(where, "array_record")
    info = folder / "dataset_info.json"
    if not info.is_file():
        raise UserError(
            f"expected a folder with a dataset_info.json and ArrayRecord shards, got {folder} "
            "without one; try the folder that 'imgrec data pack' wrote, or NAME/VERSION in a "
            "folder of TFDS"
        )
    if "array_record" not in (formats := _formats(info)):
        raise _another_format(folder, formats)
    return folder


def tfds_home(data_dir: str = "") -> Path:
    """Return the folder of TFDS sets: `data_dir`, else TFDS_DATA_DIR, else the home's default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def find_prepared(where: str, home: Path) -> list[Prepared]:
    """Return the prepared versions of a set, newest first; see `open_tfds` for `where`."""
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
        content = parse_json(read_file(info), str(info))
        return (content.get("fileFormat", "tfrecord"), *content.get("alternativeFileFormats", ()))
    except (AttributeError, TypeError) as error:
        raise UserError(
            f"expected {info} to be the JSON that TFDS writes, got {error}; try to prepare the "
            "set again"
        ) from error


def _beside(where: str, home: Path) -> str:
    """Return the configs of the set, if the search failed because of a missing config name."""
    infos = home.glob(f"{where.partition(':')[0]}/*/*/dataset_info.json")
    configs = sorted({info.parents[1].name for info in infos})
    return f" (but its configs {', '.join(configs)}: try tfds:{where}/CONFIG)" if configs else ""


def _read(folder: Path, form: Form) -> Splits:
    splits = open_records(folder)
    first = next(iter(splits.values()))
    if first.stored_shape[2] == 1:
        form = {"channels": 1, **{k: v for k, v in form.items() if v}}  # pyright: ignore
    shape = _decoded_shape(first, form)
    size = decoded_bytes(sum(map(len, splits.values())), shape, form)
    fits = size <= memory_limit.decoded_limit()
    key = content_key([folder], "tfds", sorted(form.items()) if fits else "labels")
    if fits:
        arrays = cached(
            key,
            lambda: {
                name: load(EncodedSource(r, read_labels(r), r.label_names, shape, form))
                for name, r in splits.items()
            },
        )
        return _labelled(arrays, folder)
    _logger.info("%s: reading the labels of all records, once", folder)
    labels = cached(key, lambda: {name: _labels_only(r) for name, r in splits.items()})
    encoded = {
        name: EncodedSource(r, labels[name].labels, r.label_names, shape, form)
        for name, r in splits.items()
    }
    return _labelled(encoded, folder)


def _decoded_shape(records: Records, form: Form) -> tuple[int, int, int]:
    """Return the shape of all images: as the set states it, else that of the first image."""
    height, width, _ = records.stored_shape
    if size := form.get("image_size", 0):
        height = width = size
    if height is None or width is None:
        return first_shape(records, form)
    return height, width, form.get("channels", 0) or 3


def _labels_only(records: Records) -> ArraySource:
    """Return the labels of a large set as a source with empty images, for the cache."""
    labels = read_labels(records)
    return ArraySource(np.zeros((len(labels), 0, 0, 0), np.uint8), labels, records.label_names)


def _labelled(splits: Mapping[str, Source], folder: Path) -> Splits:
    """Drop splits without labels, which TFDS marks by -1 (the test split of ImageNet)."""
    labelled = {}
    for split, source in splits.items():
        if source.labels.min(initial=0) < 0:
            _logger.warning("%s: the split %s has no labels and is left out", folder, split)
        else:
            labelled[split] = source
    return labelled


def open_records(folder: Path) -> dict[str, Records]:
    """Return the splits of a prepared set by our names, without reading an image.

    Raises:
        UserError: the set is damaged, or is not a set of images with one class each.
    """
    import tensorflow_datasets as tfds

    features, images, views, supervised = open_views(folder)
    classes = [k for k, kind in features.items() if isinstance(kind, tfds.features.ClassLabel)]
    image_key = choose(images, (*supervised[:1], "image"))
    label_key = choose(classes, (*supervised[1:], "label"))
    if not image_key or not label_key:
        got = ", ".join(sorted(features))
        raise unusable(folder, "one image and one class for each example", got)
    if features[image_key].np_dtype not in (np.uint8, np.uint16):
        raise unusable(folder, "images of 8 or 16 bits", features[image_key].np_dtype)
    return {
        split: Records(
            view=view,
            where=f"{folder} {split}",
            image_key=image_key,
            label_key=label_key,
            label_names=tuple(features[label_key].names),
            stored_shape=features[image_key].shape,
        )
        for split, view in views.items()
    }


def open_views(folder: Path) -> Opened:
    """Return the description of a prepared set, with access to its records.

    Raises:
        UserError: the set is damaged, or has no known split.
    """
    import tensorflow_datasets as tfds

    try:
        builder: Any = tfds.builder_from_directory(folder)
        features: dict[str, Any] = dict(builder.info.features.items())
        images = [key for key, kind in features.items() if isinstance(kind, tfds.features.Image)]
        skip = {key: tfds.decode.SkipDecoding() for key in images}
        views = {
            split: builder.as_data_source(name, decoders=skip, file_format="array_record")
            for split, name in _choose_splits(list(builder.info.splits), folder).items()
        }
        supervised = builder.info.supervised_keys or ()
    except Exception as error:  # TFDS may raise any error on the files of the folder
        reason = str(error).partition("\n")[0]
        raise unusable(folder, "a set that TFDS can open", reason) from error
    if not views:
        raise unusable(folder, "a split train, validation or test", ", ".join(builder.info.splits))
    return Opened(features, images, views, supervised)


def _choose_splits(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Return the name of each split in the set; the shortest of several names of one split."""
    chosen: dict[str, str] = {}
    for name in sorted(names, key=len):
        if split := split_of(name):
            chosen.setdefault(split, name)
    if left := sorted(set(names).difference(chosen.values())):
        _logger.warning("%s: the splits %s are left out", folder, ", ".join(left))
    return {split: chosen[split] for split in SPLITS if split in chosen}


def choose(keys: Sequence[str], preferred: tuple[str, ...]) -> str:
    """Return the first preferred key that exists, else the only key, else ""."""
    present = [key for key in preferred if key in keys]
    return (present or (list(keys) if len(keys) == 1 else [""]))[0]


def unusable(folder: Path, expected: str, got: object) -> UserError:
    """Return the error for a prepared set of an unexpected kind."""
    return UserError(
        f"{folder}: expected {expected}, got {got}; try another set, or to prepare it again"
    )


def _another_format(folder: Path, formats: tuple[str, ...]) -> UserError:
    return UserError(
        f"expected {folder} in the format array_record, got {', '.join(formats)}, which needs "
        f"TensorFlow; try to prepare it again: {_PREPARE}"
    )
