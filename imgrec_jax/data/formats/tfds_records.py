"""Read one split of a TFDS set by record; images stay bytes, for `decode`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UserError

_CHUNK = 1024  # records read at once


@dataclass(frozen=True)
class Records:
    """The records of one split; implements `encoded.EncodedImages`.

    Attributes:
        view: TFDS's random-access view of the split, which leaves images as bytes.
        where: the folder and the split, for messages.
        image_key: the feature with the image.
        label_key: the feature with the class.
        label_names: the class names, in the order of the labels.
        stored_shape: the set's own [h, w, c]; None if images differ.
    """

    view: Any
    where: str
    image_key: str
    label_key: str
    label_names: tuple[str, ...]
    stored_shape: tuple[int | None, int | None, int | None]

    def __len__(self) -> int:
        return len(self.view)

    def name(self, row: int) -> str:
        return f"{self.where}[{row}]"

    def read(self, rows: Sequence[int]) -> Sequence[bytes]:
        return [record[self.image_key] for record in self.fetch(rows)]

    def fetch(self, rows: Sequence[int]) -> Sequence[dict[str, Any]]:
        """Return records as TFDS returns them.

        Raises:
            UserError: a file of the set is missing or damaged.
        """
        try:
            return self.view.__getitems__(list(rows))
        except RuntimeError as error:  # the ArrayRecord reader's error for any damage
            raise UserError(
                f"{self.where}: expected intact records, got: {str(error).splitlines()[0]}; "
                "try to prepare the set again"
            ) from error

    def chunks(self) -> Iterator[tuple[range, Sequence[dict[str, Any]]]]:
        """Yield all records in order, with their rows, in chunks."""
        for start in range(0, len(self), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(self)))
            yield rows, self.fetch(rows)


def read_labels(records: Records) -> np.ndarray:
    """Return the labels of a split, int32[n] with -1 for none, without decoding an image.

    Raises:
        UserError: a label is of no class.
    """
    found = [record[records.label_key] for _, fetched in records.chunks() for record in fetched]
    labels, classes = np.asarray(found, np.int64), len(records.label_names)
    wrong = np.flatnonzero((labels < -1) | (labels >= classes))
    if len(wrong):
        raise UserError(
            f"expected labels from 0 to {classes - 1}, or -1 for none, got {labels[wrong[0]]} in "
            f"{records.name(int(wrong[0]))}; try to prepare the set again"
        )
    return labels.astype(np.int32)
