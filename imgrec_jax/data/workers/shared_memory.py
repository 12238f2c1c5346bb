"""Anonymous memory shared by processes; it is freed when the last one closes it."""

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_ALIGNED = 64  # bytes


class Place(NamedTuple):
    """The dtype, shape and offset of an array in the memory."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class SharedMemory:
    """Consecutive arrays, written by one process and read by another."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._mapped: mmap.mmap | None = None

    @classmethod
    def create(cls) -> "SharedMemory":
        """Create memory that another process can open by its descriptor."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("imgrec_jax"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Place]:
        """Overwrite the memory with arrays, and return their places."""
        places: dict[str, Place] = {}
        size = 0
        for name, array in arrays.items():
            places[name] = Place(array.dtype.str, array.shape, size)
            size += -(-array.nbytes // _ALIGNED) * _ALIGNED
        if os.fstat(self.descriptor).st_size < max(size, 1):
            os.ftruncate(self.descriptor, max(size, 1))
        for name, view in self.read(places).items():
            view[...] = arrays[name]
        return places

    def read(self, places: Mapping[str, Place]) -> dict[str, np.ndarray]:
        """Return views of arrays; the next `write` changes them."""
        size = os.fstat(self.descriptor).st_size
        if self._mapped is None or len(self._mapped) < size:
            self._mapped = mmap.mmap(self.descriptor, size)  # the old one is freed with its views
        return {
            name: np.ndarray(at.shape, at.dtype, self._mapped, at.offset)
            for name, at in places.items()
        }

    def close(self) -> None:
        """Release the memory; existing views stay valid."""
        os.close(self.descriptor)
