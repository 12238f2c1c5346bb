"""Data sets whose images stay encoded on disk and are decoded on demand."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.host_cores import core_count
from imgrec_jax.data.files.access import file_path, read_file
from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.files.archive_index import index_archive
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.images.decode import Form, decode
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.sources.annotated_size import stretch_annotated
from imgrec_jax.data.sources.source import ArraySource, Example

_CHUNK = 1024  # images decoded at once when loading into memory, or fewer:
_CHUNK_BYTES = 256 << 20  # the memory that they take in addition to the data set
_PARCELS = 4  # for each thread, so that none waits long for another

_TEXT = "U1000"  # why an image is damaged, in one size, as arrays are

# Differences of a process that only decodes: it has no threads, and its stderr is not read.
_only_decodes = False


def only_decode() -> None:
    """Mark this process as one that only decodes; this cannot be undone."""
    global _only_decodes  # noqa: PLW0603
    _only_decodes = True


class EncodedImages(Protocol):
    """Encoded images by row: files of a folder, members of an archive, rows of a table."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """Return the name of an image, for messages."""
        ...

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        """Return images as stored; increasing rows are read fastest."""
        ...


@dataclass(frozen=True)
class EncodedSource:
    """A data set that decodes its images on demand, with several threads.

    It can be sent to another process: it holds paths and lists, no open files.

    Attributes:
        encoded: where the images are.
        labels: int32[n], the class of each.
        label_names: the class names.
        image_shape: what all images must decode to.
        form: the form to convert images to.
        groups: as in `ArraySource`.
        crop: the crop of training images; None for the centre.
        skip_broken: return zeros for damaged images, and report them, instead of raising.
        targets, facts: as in `ArraySource`: further fields, such as tokens or boxes, and their
            meaning.
        sizes: int[n, 2], the (height, width) of each image in its annotation, which is checked;
            images with sizes are then stretched to `image_shape`, as their boxes already are.
    """

    encoded: EncodedImages
    labels: np.ndarray
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    form: Form
    groups: np.ndarray | None = None
    crop: RandomResizedCrop | None = None
    skip_broken: bool = False
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([range(len(self))[row]])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        indices = np.asarray(rows, np.int64)
        arrays = self.read(indices, np.full_like(indices, -1))
        return [{name: array[k] for name, array in arrays.items()} for k in range(len(indices))]

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        images = np.zeros((len(rows), *self.image_shape), image_dtype(self.form))
        broken = np.zeros(len(rows), _TEXT)
        order = np.argsort(rows, kind="stable")  # neighbours are read together
        threads = min(thread_count(), len(rows))

        def decode_parcel(places: np.ndarray) -> None:
            visits = list(zip(rows[places].tolist(), epochs[places].tolist(), strict=True))
            for place, (row, epoch), data in zip(places, visits, self._bytes(visits), strict=True):
                try:
                    images[place] = self._image(row, epoch, data)
                except UserError as error:
                    if not self.skip_broken or isinstance(error, UsageError):
                        raise
                    broken[place] = str(error)

        parcels = np.array_split(order, max(1, threads * _PARCELS))
        if threads < 2:
            list(map(decode_parcel, parcels))
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(decode_parcel, parcels))
        found = {"broken": broken} if self.skip_broken else {}
        targets = {name: array[rows] for name, array in self.targets.items()}
        labels = self.labels[rows].astype(np.int32)
        return {"image": images, "label": labels, **targets, **found}

    def _bytes(self, visits: Sequence[tuple[int, int]]) -> Sequence[bytes | UserError]:
        rows = [row for row, _ in visits]
        try:
            return self.encoded.read(rows) if rows else ()
        except UserError:
            if not self.skip_broken:
                raise
        return [self._one(row) for row in rows]  # a file cannot be read: find out which one

    def _one(self, row: int) -> bytes | UserError:
        try:
            return self.encoded.read([row])[0]
        except UserError as error:
            return error

    def _image(self, row: int, epoch: int, data: bytes | UserError) -> np.ndarray:
        if isinstance(data, UserError):
            raise data
        name = self.encoded.name(row)
        crop = partial(self.crop.area, row, epoch) if self.crop and epoch >= 0 else None
        # The first epoch reads files to their ends, and finds what is damaged.
        checked = epoch > 0 and not self.skip_broken
        image = decode(data, name, **self.form, crop=crop, checked=checked)
        if self.sizes is not None:
            size, shape = tuple(self.sizes[row].tolist()), self.image_shape[:2]
            image = stretch_annotated(image, data, name, size, shape, **self.form)
        if image.shape != self.image_shape:
            raise sizes_differ("the first image", self.image_shape, name, image.shape)
        return image


@dataclass(frozen=True)
class FileImages:
    """Files of a folder."""

    root: Path
    names: Names

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        return str(self.root / readable(self.names[row]))

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [read_file(file_path(self.root, self.names[row])) for row in rows]


def stored_images(root: Path, names: Names) -> EncodedImages | None:
    """Return images of a folder or archive; None if the archive can only be read sequentially.

    Raises:
        UserError: the archive is damaged.
    """
    if root.is_dir():
        return FileImages(root, names)
    index = index_archive(root)
    return index.take(names) if index else None


def first_shape(images: EncodedImages, form: Form) -> tuple[int, int, int]:
    """Return the shape [h, w, c] that the first image decodes to."""
    try:
        shape = decode(images.read([0])[0], images.name(0), **form).shape
    except UsageError:
        raise
    except UserError:  # reported or skipped where the images are used
        if not (size := form.get("image_size", 0)):
            raise
        return size, size, form.get("channels", 0) or 3
    return shape  # pyright: ignore[reportReturnType]


def decoded_bytes(images: int, shape: tuple[int, ...], form: Form) -> int:
    """Return the bytes of memory that this many decoded images take."""
    return images * int(np.prod(shape, dtype=np.int64)) * image_dtype(form).itemsize


def image_dtype(form: Form) -> np.dtype:
    """Return the dtype of the pixels of a form."""
    return np.dtype(form.get("dtype", "uint8"))


def load(source: EncodedSource) -> ArraySource:
    """Decode a whole data set into memory."""
    images = np.empty((len(source), *source.image_shape), image_dtype(source.form))
    one = decoded_bytes(1, source.image_shape, source.form)
    chunk = min(_CHUNK, max(1, _CHUNK_BYTES // one))
    for start in range(0, len(source), chunk):
        rows = np.arange(start, min(start + chunk, len(source)))
        images[rows] = source.read(rows, np.full_like(rows, -1))["image"]
    return ArraySource(
        images, source.labels, source.label_names, source.groups, source.targets, source.facts
    )


def thread_count() -> int:
    """Return how many threads may decode at once."""
    return 1 if _only_decodes else core_count()


def sizes_differ(
    first: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> UsageError:
    """Return the error for images of two shapes [h, w, c] where one is expected."""
    return UsageError(
        f"expected images of one size, got {shape[1]}x{shape[0]} in {first} and "
        f"{other_shape[1]}x{other_shape[0]} in {other}; "
        f"try --config.data.image_size={min(shape[:2])}, which makes all of them square"
    )
