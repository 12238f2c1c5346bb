"""Names of tree leaves, such as `params/Dense_0/kernel`."""

from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """Return a tree path as text, such as `params/Dense_0/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
