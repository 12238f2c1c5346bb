"""Pictures that are passed over because they are damaged, counted."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imgrec_jax.core.errors import unknown
from imgrec_jax.data.sources.source import Example, Source, gather

POLICIES = ("raise", "skip-and-count")
_TOLD = 10  # of each split; the others are only counted

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DamageCounter:
    """A source that remembers which of its pictures were found damaged.

    Attributes:
        source: where damaged pictures are told of in the array `broken` (see `source.Reader`).
        found: why, by row.
    """

    source: Source
    found: dict[int, str] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.source.label_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.image_shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Example:
        return self.source[row]

    def __getitems__(self, rows: Any) -> Any:
        return self.source.__getitems__(rows)

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        arrays = gather(self.source, rows, epochs)
        broken = arrays.get("broken", np.zeros(len(rows), "U1"))
        for place in np.flatnonzero(broken != ""):
            row, why = int(rows[place]), str(broken[place])
            if row not in self.found and len(self.found) < _TOLD:
                _LOGGER.warning("%s; it is passed over", why)
            self.found[row] = why
        return arrays


def check_policy(name: str) -> None:
    """Raise unless `data.broken` is one of the two."""
    if name not in POLICIES:
        raise unknown("data.broken", name, POLICIES)
