"""Find images with label images, and the meaning of their values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import archive
from imgrec_jax.data.files.access import existing_path, full_name, list_files, read_files
from imgrec_jax.data.formats.known_masks import known_values
from imgrec_jax.data.formats.mask_values import (
    MaskValues,
    read_class_list,
    read_mask_values,
)
from imgrec_jax.data.layout.mask_pairs import Pair, pair_files
from imgrec_jax.data.layout.pair_lists import list_names
from imgrec_jax.data.layout.unread import warn_unread_files

_CLASS_LISTS = ("classes.txt", "labels.txt")


@dataclass(frozen=True)
class MaskFiles:
    """The files of a data set of images with label images.

    Attributes:
        root: the folder or archive; names are relative to it.
        pairs: by split, the names of an image and its label image.
        table: the meaning of the values; None if the values of train decide.
    """

    root: Path
    pairs: Mapping[str, list[Pair]]
    table: MaskValues | None


def find_masks(where: str, values: str = "") -> MaskFiles:
    """Find the files of a data set, see `masks.open_masks`, without decoding any.

    Raises:
        UsageError, UserError: as in `masks.open_masks`.
    """
    table = read_mask_values(values)
    path = existing_path(where, "masks")
    if not path.is_dir() and not archive.split_suffix(path)[1]:
        raise UserError(
            f"expected a folder or an archive ({' '.join(archive.SUFFIXES)}), got {path}, "
            "which is neither; try another path"
        )
    names = list_files(path)
    warn_unread_files(names, str(path))
    lists = list_names(names, "ImageSets/Segmentation/")
    classes = sorted(
        n for n in names if n.count("/") <= 1 and n.rpartition("/")[2].lower() in _CLASS_LISTS
    )[:1]
    texts = dict(read_files(path, {*lists.values(), *classes}))
    lists_by_split = {
        split: (n, decode_text(texts[n], full_name(path, n))) for split, n in lists.items()
    }
    pairs = pair_files(names, lists_by_split, str(path))
    if table is None and classes:
        table = read_class_list(texts[classes[0]], full_name(path, classes[0]))
    if table is None:
        table = known_values([pair.mask for pair in next(iter(pairs.values()))])
    return MaskFiles(path, pairs, table)
