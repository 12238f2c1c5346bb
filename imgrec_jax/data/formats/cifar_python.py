"""Read CIFAR-10 from `cifar-10-batches-py`, the folder that torchvision downloads.

Each file is a Python 2 pickle of a dict: `data` is uint8[n, 3072] (the red, green and blue planes,
each 32x32 in row-major order), `labels` a list of n ints. The files are compared with their
published checksums, then read without unpickling.
Format: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.cache.decoded import cached, content_key
from imgrec_jax.data.files.safe_pickle import NotPlainError, load_plain
from imgrec_jax.data.formats.cifar import CIFAR10_NAMES, from_planes
from imgrec_jax.data.sources.source import ArraySource, Splits

FOLDER = "cifar-10-batches-py"

_SPLITS = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def open_cifar10_python(folder: Path) -> Splits:
    """Return CIFAR-10 as `train` and `test`, uint8[32, 32, 3], in the order of the files.

    Raises:
        UserError: a file is missing, or differs from the published one.
    """
    for name in _MD5:
        if not (folder / name).is_file():
            raise _damaged(folder, f"a file {name}", "none")
    try:
        key = content_key([folder], FOLDER)
    except OSError as error:
        raise _damaged(folder, "readable files", error) from error
    return {**cached(key, lambda: _read(folder))}


def _read(folder: Path) -> dict[str, ArraySource]:
    return {
        split: from_planes([_read_file(folder / name) for name in names], CIFAR10_NAMES)
        for split, names in _SPLITS.items()
    }


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the planes, uint8[n, 3072], and labels, int32[n], of one file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _damaged(path, "a readable file", error) from error
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if md5 != _MD5[path.name]:
        raise _damaged(path, f"MD5 {_MD5[path.name]}", md5)
    try:
        content = load_plain(data)
    except NotPlainError as error:
        raise _damaged(path, "a pickle of plain data", error) from error
    content = content if isinstance(content, dict) else {}
    planes, labels = content.get(b"data"), content.get(b"labels")
    if not isinstance(planes, np.ndarray) or planes.ndim != 2 or planes.shape[1] != 3072:
        raise _damaged(path, "'data' of shape [n, 3072]", getattr(planes, "shape", "none"))
    if not isinstance(labels, list) or len(labels) != len(planes):
        raise _damaged(path, f"a list of {len(planes)} 'labels'", "another")
    if not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise _damaged(path, "labels 0 to 9", "others")
    return planes, np.asarray(labels, np.int32)


def _damaged(path: Path, expected: str, got: object) -> UserError:
    return UserError(
        f"{path}: expected {expected}, got {got}; try to remove {path.parent} or to fetch it again"
    )
