"""Base class of sources that wrap another source and change a part of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from imgrec_jax.data.sources.source import (
    Example,
    Source,
    facts_of,
    gather,
    groups_of,
    targets_of,
)


@dataclass(frozen=True)
class Wrapper:
    """A source that forwards everything to another one; subclasses override what they change.

    Attributes:
        source: the wrapped source.
    """

    source: Source

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.source.label_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    @property
    def groups(self) -> np.ndarray | None:
        return groups_of(self.source)

    @property
    def targets(self) -> Mapping[str, np.ndarray]:
        return targets_of(self.source)

    @property
    def facts(self) -> Mapping[str, Any]:
        return facts_of(self.source)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        return self.__getitems__([range(len(self))[row]])[0]

    def __getitems__(self, rows: Sequence[int]) -> Sequence[Example]:
        return self.source.__getitems__(rows)

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        return gather(self.source, rows, epochs)

    def over(self, source: Source) -> Self:
        """Return the same wrapper around another source."""
        return replace(self, source=source)


def innermost(source: Source) -> Source:
    """Return the innermost source, which wraps no other one."""
    while isinstance(source, Wrapper):
        source = source.source
    return source


def rebuilt(source: Source, change: Callable[[Source], Source]) -> Source:
    """Return the source with its innermost source changed, inside the same wrappers."""
    if isinstance(source, Wrapper):
        return source.over(rebuilt(source.source, change))
    return change(source)
