"""Store many file names compactly."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Names(Sequence[str]):
    """A sequence of names that takes a third of a tuple's memory, and no time to store or send.

    Attributes:
        text: uint8[total], the concatenated names in UTF-8; other bytes are kept by Python's
            surrogate escapes.
        ends: int64[n], the end of each name in the text.
    """

    text: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Return the names as a `Names`."""
        return cls.of_bytes([name.encode("utf-8", "surrogateescape") for name in names])

    @classmethod
    def of_bytes(cls, names: Sequence[bytes]) -> "Names":
        """Return a `Names` of encoded names."""
        lengths = np.fromiter(map(len, names), np.int64, len(names))
        return cls(np.frombuffer(b"".join(names), np.uint8), np.cumsum(lengths))

    @classmethod
    def joined(cls, parts: Sequence["Names"]) -> "Names":
        """Return the concatenated names of all parts."""
        starts = np.cumsum([0, *(len(part.text) for part in parts)])
        empty = np.zeros(0, np.int64)
        return cls(
            np.concatenate([np.zeros(0, np.uint8), *(part.text for part in parts)]),
            np.concatenate([empty, *(p.ends + s for p, s in zip(parts, starts, strict=False))]),
        )

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[str]:  # a fifth of the time of indexing one by one
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield text[start:end].decode("utf-8", "surrogateescape")
            start = end

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> "Names": ...

    def __getitem__(self, row: int | slice) -> "str | Names":
        if not isinstance(row, slice):
            return self.encoded(range(len(self))[row]).decode("utf-8", "surrogateescape")
        start, stop, step = row.indices(len(self))
        if step != 1:
            return Names.of(self[i] for i in range(start, stop, step))
        first, last = self._bound(start), self._bound(max(start, stop))
        return Names(self.text[first:last], self.ends[start:stop] - first)

    def encoded(self, row: int) -> bytes:
        """Return the bytes of a name; the row must not be negative."""
        return self.text[self._bound(row) : self._bound(row + 1)].tobytes()

    def _bound(self, row: int) -> int:
        return int(self.ends[row - 1]) if row else 0
