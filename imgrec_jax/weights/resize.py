"""Parameters whose shape depends on the size of images, and how each is resized to another size."""

import contextlib
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.ops.position_embeddings import fit_positions


def resized(path: str, saved: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a saved parameter resized to `shape`, or None if its family cannot resize it.

    Args:
        path: of the parameter; its last name is looked up in `RESIZERS`.
        saved: its value, of another shape.
        shape: of the parameter to initialize.
    """
    resize = RESIZERS.get(path.rpartition("/")[2])
    return resize(saved, shape) if resize else None


def _learned_positions(saved: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Resize the position embeddings [1, tokens, channels] of a ViT to another square grid."""
    if not saved.ndim == len(shape) == 3 or saved.shape[-1] != shape[-1]:
        return None
    with contextlib.suppress(UsageError):  # not square, or with a class token and without
        return np.asarray(fit_positions(jnp.asarray(saved), shape[1]))
    return None


RESIZERS: Mapping[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray | None]] = {
    "positions": _learned_positions,
}
