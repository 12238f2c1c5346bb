"""Write one shard of a pack: an ArrayRecord file of `tf.train.Example` messages for TFDS."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.pack.tfds_description import DRAFT_SUFFIX
from imgrec_jax.data.raw.items import Images, Stored

# JPEG and PNG do not compress further; one record per group gives fast random access.
_OPTIONS = "group_size:1,uncompressed"

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"  # the first bytes of their files
_PNG_DEPTH = 24  # offset of the bits per channel in the first chunk of a PNG file
_INT64 = (1 << 64) - 1


class Written(NamedTuple):
    """The contents of a finished shard.

    Attributes:
        examples: number of images in it.
        size: of the file, in bytes.
        sha256: of the file, in hexadecimal.
        shapes: the distinct shapes (h, w, c) of its images, at most two of them.
        deep: how many are PNG files with 16 bits per channel.
        left_out: for each damaged image, why it is left out.
    """

    examples: int
    size: int
    sha256: str
    shapes: list[list[int]]
    deep: int
    left_out: list[str]


def write_shard(path: Path, images: Images, count: Callable[[], None]) -> Written:
    """Write images in order; leave out and report damaged ones.

    Every image is decoded once, so that all images in a shard can be decoded. The file is written
    under another name, flushed to disk and then renamed, so under its own name it is complete.
    Its bytes depend on the images and labels alone.

    Args:
        path: the file; its folder exists.
        images: the images to write.
        count: called for every image.

    Raises:
        UserError: the file cannot be written.
    """
    draft = path.with_name(f"{path.name}{DRAFT_SUFFIX}")
    try:
        written = _write(draft, images, count)
        _flush(draft)
        os.replace(draft, path)
        _flush(path.parent)
    except (OSError, RuntimeError) as error:  # the writer of ArrayRecord raises RuntimeError
        draft.unlink(missing_ok=True)
        raise UserError(
            f"expected to write {path}, got {str(error).partition(chr(10))[0]}; "
            "try --out=DIR on a disk with room, or the same command again"
        ) from error
    return written


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; "" if the file does not exist."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def stored_bytes(item: Stored, pixels: np.ndarray) -> bytes:
    """Return the stored bytes of an image: JPEG and PNG files unchanged, all else as PNG.

    Raises:
        UserError: PNG does not support this number of channels.
    """
    if isinstance(item, bytes) and item.startswith((_JPEG, _PNG)):
        return item
    import cv2

    orders = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = pixels.shape[-1]
    if channels not in orders:
        raise UserError(f"expected 1, 3 or 4 channels, got {channels}; try converting the images")
    order = orders[channels]
    _, png = cv2.imencode(".png", pixels if order is None else cv2.cvtColor(pixels, order))
    return png.tobytes()


def serialize(image: bytes, label: int) -> bytes:
    """Return a `tf.train.Example` with the features `image` and `label`.

    In the wire format of Protocol Buffers (protobuf.dev, "Encoding"), fields numbered as in
    TensorFlow's example.proto and feature.proto; encoded by hand because the library guarantees
    no order for the entries of a map, and the bytes of a shard must be reproducible.
    """
    features = (
        (b"image", _field(1, _field(1, image))),  # BytesList
        (b"label", _field(3, _field(1, _varint(label & _INT64)))),  # Int64List, packed
    )
    entries = [_field(1, _field(1, key) + _field(2, value)) for key, value in features]
    return _field(1, b"".join(entries))


def _write(draft: Path, images: Images, count: Callable[[], None]) -> Written:
    from array_record.python import array_record_module  # pyright: ignore

    shapes: set[tuple[int, ...]] = set()
    left_out: list[str] = []
    examples = deep = 0
    writer = array_record_module.ArrayRecordWriter(str(draft), _OPTIONS)
    try:
        for label, image in zip(images.labels, images, strict=True):
            count()
            if isinstance(image, UserError):
                left_out.append(str(image))
                continue
            data = stored_bytes(*image)
            writer.write(serialize(data, int(label)))
            shapes |= {image[1].shape} if len(shapes) < 2 else set()
            examples += 1
            deep += data.startswith(_PNG) and data[_PNG_DEPTH] == 16
    finally:
        writer.close()
    return Written(
        examples,
        draft.stat().st_size,
        checksum(draft),
        [list(shape) for shape in sorted(shapes)],
        deep,
        left_out,
    )


def _flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk, and wait for it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, lowest first, with all but the last marked."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
