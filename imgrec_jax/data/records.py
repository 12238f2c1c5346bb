"""A split of a TFDS set, read record by record: pictures as bytes, decoded by `decode`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.decode import decode
from imgrec_jax.data.source import ArraySource, Example

_CHUNK = 1024  # records asked for at once


@dataclass(frozen=True)
class Records:
    """How to get at the examples of one split.

    Attributes:
        view: TFDS's random-access view of the split, which leaves pictures as bytes.
        where: the folder and the split, for messages.
        image_key: the feature with the picture.
        label_key: the feature with the class.
        image_size: what `decode` brings pictures to; 0 = it leaves them.
        image_shape: the shape that every picture must have then.
        label_names: the class names, in the order of the labels.
    """

    view: Any
    where: str
    image_key: str
    label_key: str
    image_size: int
    image_shape: tuple[int, int, int]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.view)

    def fetch(self, rows: Sequence[int]) -> Sequence[dict[str, Any]]:
        """Return records as TFDS has them.

        Raises:
            UserError: a file of the set is missing or damaged.
        """
        try:
            return self.view.__getitems__(list(rows))
        except RuntimeError as error:  # what the reader of ArrayRecord raises for any damage
            raise UserError(
                f"{self.where}: expected intact records, got: {str(error).splitlines()[0]}; "
                "try to prepare the set again"
            ) from error

    def chunks(self) -> Iterator[tuple[range, Sequence[dict[str, Any]]]]:
        """Yield all records in order, with their rows, some at a time."""
        for start in range(0, len(self), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(self)))
            yield rows, self.fetch(rows)

    def picture(self, row: int, record: dict[str, Any]) -> np.ndarray:
        """Return the decoded picture of a record, uint8 of shape `image_shape`."""
        name = f"{self.where}[{row}]"
        image = decode(record[self.image_key], name, image_size=self.image_size)
        image = image[..., : self.image_shape[2]]  # a grey set has three equal channels here
        if image.shape != self.image_shape:
            raise UserError(
                f"expected pictures of {_size(self.image_shape)} pixels, got {_size(image.shape)} "
                f"in {name}; try --config.data.image_size=N to bring all to one size"
            )
        return image


@dataclass(frozen=True)
class RecordSource:
    """A split that stays on the disk; a picture is decoded when it is asked for.

    Attributes:
        records: the split.
        labels: int32[n], as `read_labels` returns them.
    """

    records: Records
    labels: np.ndarray

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.records.label_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.records.image_shape

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        fetched = self.records.fetch(rows)
        return [
            {"image": self.records.picture(row, record), "label": self.labels[row]}
            for row, record in zip(rows, fetched, strict=True)
        ]


def load_records(records: Records) -> ArraySource:
    """Decode a whole split into memory."""
    images = np.empty((len(records), *records.image_shape), np.uint8)
    labels = np.empty(len(records), np.int32)
    for rows, fetched in records.chunks():
        for row, record in zip(rows, fetched, strict=True):
            images[row] = records.picture(row, record)
            labels[row] = record[records.label_key]
    return ArraySource(images, labels, records.label_names)


def read_labels(records: Records) -> np.ndarray:
    """Return the labels of a split, int32[n], without decoding a picture."""
    labels = [record[records.label_key] for _, fetched in records.chunks() for record in fetched]
    return np.asarray(labels, np.int32)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
