"""The pictures that a config's data source names, as they are stored: for `data inspect|pack`."""

from pathlib import Path

from imgrec_jax.build.sources import open_source
from imgrec_jax.config import Config
from imgrec_jax.data.formats.folder import Labelling
from imgrec_jax.data.formats.tfds import find_prepared, tfds_home
from imgrec_jax.data.raw.items import Pictures
from imgrec_jax.data.raw.open import (
    folder_pictures,
    parquet_pictures,
    record_pictures,
    source_pictures,
)


def open_stored(config: Config) -> dict[str, Pictures]:
    """Return the pictures of each split of `data.source`, damaged ones and all sizes included.

    Where a source has encoded files they are not decoded.

    Raises:
        UsageError, UserError: as `open_source` does.
    """
    data = config.data
    kind, _, where = data.source.partition(":")
    if kind == "folder":
        return folder_pictures(where, Labelling(data.label_pattern, data.columns))
    if kind == "parquet":
        return parquet_pictures(where, data.columns)
    if folder := _record_folder(kind, where, data.dir):
        return record_pictures(folder)
    if kind == "imagenet":  # its pictures stay encoded, but without a size it is refused
        config = config.copy_and_resolve_references()
        config.data.image_size = config.data.image_size or 1
    return source_pictures(open_source(config), data.source)


def _record_folder(kind: str, where: str, data_dir: str) -> Path | None:
    """Return the folder of ArrayRecord shards that a source names, if it does and it is there."""
    if kind == "array_record":
        folder = Path(where).expanduser()
        return folder if (folder / "dataset_info.json").is_file() else None
    if kind == "tfds":
        prepared = find_prepared(where, tfds_home(data_dir))
        return next((folder for folder, formats in prepared if "array_record" in formats), None)
    return None
