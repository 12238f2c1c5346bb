"""Read ImageNet (ILSVRC 2012) from the official tar files or the unpacked folders.

| split | official file                 | or unpacked                                             |
|-------|-------------------------------|---------------------------------------------------------|
| train | ILSVRC2012_img_train.tar      | train/SYNSET/*.JPEG                                     |
| val   | ILSVRC2012_img_val.tar        | val/SYNSET/*.JPEG, or val/*.JPEG                        |

The folders may be in ILSVRC/Data/CLS-LOC, as on Kaggle. Classes are numbered in the order of their
synsets (n01440764 is 0), as in all published weights. The labels of validation images outside
folders come from one of

    ILSVRC2012_devkit_t12.tar.gz, or its unpacked folder ILSVRC2012_devkit_t12
    imagenet_2012_validation_synset_labels.txt: a synset per line, in the order of the images
    LOC_val_solution.csv, as on Kaggle
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files import archive
from imgrec_jax.data.files.access import existing_path, read_file
from imgrec_jax.data.files.archive_index import ArchiveImages
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.images.decode import Form
from imgrec_jax.data.layout.csv_rows import parse_csv
from imgrec_jax.data.layout.imagenet_tars import index_tar, index_tar_of_tars
from imgrec_jax.data.layout.listing import list_images
from imgrec_jax.data.sources.encoded import EncodedSource, FileImages
from imgrec_jax.data.sources.source import Splits

_TRAIN_TAR = "ILSVRC2012_img_train.tar"
_VAL_TAR = "ILSVRC2012_img_val.tar"
_DEVKIT = "ILSVRC2012_devkit_t12"
_SYNSET_LIST = "imagenet_2012_validation_synset_labels.txt"
_KAGGLE_LIST = "LOC_val_solution.csv"
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
_META = "data/meta.mat"

_SYNSET = re.compile(r"n\d{8}")
_SYNSET_BYTES = 9
_VAL_NUMBER = re.compile(r"_(\d{8})\.JPEG$", re.IGNORECASE)

Images = FileImages | ArchiveImages


def open_imagenet(where: str, **form: Unpack[Form]) -> Splits:
    """Return the existing splits of ImageNet's train and val, decoded on demand.

    Rows are sorted by synset and file name in train, by file name in a val without folders. Class
    names are the synsets (WordNet's numbers), the same for every layout.

    Args:
        where: the folder with the files of the table above; `~` is the home directory.
        form: the form to convert images to; they differ in size, so an image_size is required.

    Raises:
        UsageError: no such path, or no image_size.
        UserError: the files are missing or damaged, or there are no labels for val.
    """
    path = existing_path(where, "imagenet")
    size = form.get("image_size", 0)
    if not size:
        raise UsageError(
            "expected data.image_size above 0 for imagenet, whose images have many sizes, "
            "got 0; try --config.data.image_size=224"
        )
    parts: dict[str, tuple[Images, np.ndarray]] = {}
    if train := _find(path, "train", _TRAIN_TAR, index_tar_of_tars):
        parts["train"] = train, _synsets_by_folder(train.names, path)
    if val := _find(path, "val", _VAL_TAR, index_tar):
        flat = "/" not in val.names[0]
        parts["val"] = val, (_validation_synsets if flat else _synsets_by_folder)(val.names, path)
    if not parts:
        raise UserError(
            f"expected {_TRAIN_TAR} or a folder train with images in {path}, got neither; "
            "try imagenet:PATH with another path"
        )
    classes = np.unique(next(iter(parts.values()))[1])
    shape = (size, size, form.get("channels", 0) or 3)
    label_names = tuple(name.decode() for name in classes.tolist())
    return {
        split: EncodedSource(images, _number(synsets, classes, path), label_names, shape, form)
        for split, (images, synsets) in parts.items()
    }


def _find(
    path: Path, split: str, tar: str, index: Callable[[Path], ArchiveImages]
) -> Images | None:
    """Return the images of a split from its folder, Kaggle's folder, or its tar."""
    for folder in (path / split, path / "ILSVRC" / "Data" / "CLS-LOC" / split):
        if folder.is_dir() and len(names := list_images(folder).names):
            return FileImages(folder, names)
    if (path / tar).is_file() and len((found := index(path / tar)).names):
        return found
    return None


def _synsets_by_folder(names: Names, path: Path) -> np.ndarray:
    """Return the folder of each image, as bytes of length 9; vectorised for a million images."""
    lengths = np.diff(names.ends, prepend=0)
    if lengths.min() > _SYNSET_BYTES:
        at = (names.ends - lengths)[:, None] + np.arange(_SYNSET_BYTES + 1)
        heads = np.ascontiguousarray(names.text[at])
        synsets = np.ascontiguousarray(heads[:, :-1]).view(f"S{_SYNSET_BYTES}")[:, 0]
        found = [synset.decode("latin-1") for synset in np.unique(synsets).tolist()]
        if (heads[:, -1] == ord("/")).all() and all(map(_SYNSET.fullmatch, found)):
            return synsets
    raise UserError(
        f"expected images in folders like n01440764 in {path}, got '{names[0]}'; "
        "try folder:PATH for other sets"
    )


def _validation_synsets(names: Names, path: Path) -> np.ndarray:
    """Return the synset of each validation image outside folders."""
    if (path / _KAGGLE_LIST).is_file():
        rows = parse_csv(_text(path / _KAGGLE_LIST), str(path / _KAGGLE_LIST))
        by_name = {row[0]: row[1].split(" ")[0] for row, _ in rows if len(row) == 2}
        found_synsets = [by_name.get(name.rpartition(".")[0], "") for name in names]
    else:
        in_order = _synsets_in_order(path)
        numbers = [int(found[1]) if (found := _VAL_NUMBER.search(name)) else 0 for name in names]
        found_synsets = [in_order[n - 1] if 0 < n <= len(in_order) else "" for n in numbers]
    for name, synset in zip(names, found_synsets, strict=True):
        if not _SYNSET.fullmatch(synset):
            raise UserError(
                f"expected a synset for {name} in the validation labels of {path}, got "
                f"'{synset}'; try downloading them again"
            )
    return np.array(found_synsets, f"S{_SYNSET_BYTES}")


def _synsets_in_order(path: Path) -> list[str]:
    """Return the synsets of validation images 1, 2, ..."""
    if (path / _SYNSET_LIST).is_file():
        return _text(path / _SYNSET_LIST).split()
    truth, meta = f"{_DEVKIT}/{_TRUTH}", f"{_DEVKIT}/{_META}"
    devkit = path / f"{_DEVKIT}.tar.gz"
    if (path / truth).is_file() and (path / meta).is_file():
        files = {name: read_file(path / name) for name in (truth, meta)}
    elif devkit.is_file():
        requested = {truth, meta}
        files = {name: read() for name, read in archive.entries(devkit) if name in requested}
    else:
        raise UserError(
            f"expected labels of the validation images in {path}, got none; "
            f"try {_DEVKIT}.tar.gz, {_SYNSET_LIST} or {_KAGGLE_LIST} beside them"
        )
    try:
        synsets = _synsets_by_number(files[meta])
        return [synsets[int(number)] for number in files[truth].split()]
    except Exception as error:  # SciPy may raise any error on a damaged file
        raise UserError(
            f"expected {_TRUTH} and {_META} in the development kit of {path}, got "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}; try downloading it again"
        ) from error


def _synsets_by_number(meta: bytes) -> dict[int, str]:
    """Return the development kit's class numbers, ILSVRC2012_ID -> WNID."""
    import scipy.io

    table: Any = scipy.io.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(table)}


def _number(synsets: np.ndarray, classes: np.ndarray, path: Path) -> np.ndarray:
    """Return the index of each synset among the classes, int32[n]."""
    strange = np.setdiff1d(synsets, classes)
    if len(strange):
        raise UserError(
            f"expected the synsets of train in val of {path}, got {strange[0].decode()}; "
            "try the labels of the same set"
        )
    return np.searchsorted(classes, synsets).astype(np.int32)


def _text(path: Path) -> str:
    return decode_text(read_file(path), str(path))
