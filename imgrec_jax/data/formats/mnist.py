"""Read MNIST, and data sets in the same format, from the four original IDX files.

An IDX file is a magic number (type and number of axes), the length of each axis, all as
big-endian 32-bit integers, then the bytes. Format: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.size_limit import check_unpacked
from imgrec_jax.data.sources.source import ArraySource, Splits

_IMAGES, _LABELS = 2051, 2049  # magic numbers: unsigned bytes on 3 axes, on 1 axis
_PREFIXES = {"train": "train", "test": "t10k"}
_SIDE = 28
_MOST = 10_000_000  # examples in one file: more means a damaged header


def open_mnist(where: str) -> Splits:
    """Return `train` and `test` from a folder with the four IDX files, `.gz` or unpacked.

    Images are uint8[28, 28, 1], label names "0" to "9".

    Raises:
        UserError: a file is missing, truncated or not an IDX file of 28x28 images.
    """
    folder = Path(where).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"expected a folder with the four MNIST files, got '{where}', which is none; "
            "try mnist:FOLDER"
        )
    return {split: _read_split(folder, prefix) for split, prefix in _PREFIXES.items()}


def _read_split(folder: Path, prefix: str) -> ArraySource:
    images_path = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images = _read_idx(images_path, _IMAGES)
    labels = _read_idx(labels_path, _LABELS)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise _malformed(images_path, "28x28 images", "x".join(map(str, images.shape[1:])))
    if len(images) != len(labels):
        raise _malformed(labels_path, f"{len(images)} labels for {images_path.name}", len(labels))
    if labels.max(initial=0) > 9:
        raise _malformed(labels_path, "labels 0 to 9", labels.max())
    return ArraySource(images[..., None], labels.astype(np.int32), tuple("0123456789"))


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise UserError(
        f"expected {name}.gz (or {name}) in {folder}, got no such file; try the folder that "
        "holds all four MNIST files"
    )


def _read_idx(path: Path, magic: int) -> np.ndarray:
    """Read the bytes that the header specifies, and check that nothing follows."""
    axes = magic & 0xFF
    try:
        with _open(path) as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes:
                raise _malformed(path, "an IDX header", f"{len(header)} bytes in all")
            found, *shape = struct.unpack(f">{1 + axes}I", header)
            if found != magic:
                raise _malformed(path, f"an IDX file with magic number {magic}", found)
            if not 0 < shape[0] <= _MOST or any(side > 4 * _SIDE for side in shape[1:]):
                raise _malformed(path, "a header with a sensible size", shape)
            size = int(np.prod(shape, dtype=np.int64))
            check_unpacked(size, path)
            data = file.read(size + 1)  # one more byte detects surplus; stops a decompression bomb
    except (OSError, EOFError, zlib.error) as error:
        raise _malformed(path, "a whole, readable IDX file", error) from error
    if len(data) != size:
        more = "more" if len(data) > size else len(data)
        raise _malformed(path, f"{size} bytes after the header", more)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # pyright: ignore


def _malformed(path: Path, expected: str, got: object) -> UserError:
    return UserError(f"{path}: expected {expected}, got {got}; try to fetch the file again")
