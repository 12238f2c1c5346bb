"""Open the images of a data source as they are stored, for `data inspect|pack`."""

from pathlib import Path

from imgrec_jax.build.sources import open_source
from imgrec_jax.config import Config
from imgrec_jax.data.files import size_limit
from imgrec_jax.data.formats.folder import Labelling
from imgrec_jax.data.formats.tfds import find_prepared, tfds_home
from imgrec_jax.data.raw.items import Images
from imgrec_jax.data.raw.open import (
    folder_images,
    parquet_images,
    record_images,
    source_images,
)


def open_stored(config: Config) -> dict[str, Images]:
    """Return the images of each split of `data.source`, including damaged ones and all sizes.

    Encoded files are not decoded.

    Raises:
        UsageError, UserError: as `open_source` does.
    """
    with size_limit.limited(config.data.file_gb):
        return _open_stored(config)


def _open_stored(config: Config) -> dict[str, Images]:
    data = config.data
    kind, _, where = data.source.partition(":")
    if kind == "folder":
        return folder_images(where, Labelling(data.label_pattern, data.columns))
    if kind == "parquet":
        return parquet_images(where, data.columns)
    if folder := _record_folder(kind, where, data.dir):
        return record_images(folder)
    if kind == "imagenet":  # its images stay encoded, but opening it requires a size
        config = config.copy_and_resolve_references()
        config.data.image_size = config.data.image_size or 1
    return source_images(open_source(config), data.source)


def _record_folder(kind: str, where: str, data_dir: str) -> Path | None:
    """Return the folder of ArrayRecord shards of a source, or None if there is none."""
    if kind == "array_record":
        folder = Path(where).expanduser()
        return folder if (folder / "dataset_info.json").is_file() else None
    if kind == "tfds":
        prepared = find_prepared(where, tfds_home(data_dir))
        return next((folder for folder, formats in prepared if "array_record" in formats), None)
    return None
