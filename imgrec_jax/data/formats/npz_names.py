"""Read the names of splits in those of arrays."""

from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.split_names import split_of


def with_split_names(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Return arrays with our names of the splits in theirs: `X_valid` is `x_val`.

    Raises:
        UserError: two arrays have the same name then.
    """
    renamed: dict[str, str] = {}
    for name in arrays:
        first, _, last = name.partition("_")
        if split_of(last) and first.lower() in ("x", "y"):
            new = f"{first.lower()}_{split_of(last)}"
        else:
            new = f"{split_of(first)}_{last}" if split_of(first) and last else name
        if (other := renamed.setdefault(new, name)) != name:
            raise UserError(
                f"expected one array for {new}, got '{other}' and '{name}' in {path}; "
                "try removing one"
            )
    return {new: arrays[name] for new, name in renamed.items()}
