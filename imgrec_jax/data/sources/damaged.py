"""Count the damaged images that a source skips."""

import logging
from dataclasses import dataclass, field

import numpy as np

from imgrec_jax.data.sources.wrapper import Wrapper

_MAX_REPORTED = 10  # reported for each split; the others are only counted

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class DamageCounter(Wrapper):
    """A source that records which of its images are damaged.

    Attributes:
        source: a source that reports damaged images in the array `broken` (see `source.Reader`).
        found: the reason, by row.
    """

    found: dict[int, str] = field(default_factory=dict)

    def read(self, rows: np.ndarray, epochs: np.ndarray) -> dict[str, np.ndarray]:
        """Return examples as arrays; see `source.Reader`."""
        arrays = super().read(rows, epochs)
        broken = arrays.get("broken", np.zeros(len(rows), "U1"))
        for place in np.flatnonzero(broken != ""):
            row, why = int(rows[place]), str(broken[place])
            if row not in self.found and len(self.found) < _MAX_REPORTED:
                _LOGGER.warning("%s; it is skipped", why)
            self.found[row] = why
        return arrays
