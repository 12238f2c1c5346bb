"""Read and write tensors by name in safetensors files. Pickles are never opened."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UserError

PICKLES = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth", ".pyth"})
_TYPES = frozenset(
    {
        *("F64", "F32", "F16", "BF16", "BOOL"),
        *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"),
    }
)
"""Types of tensors in a file; 4- and 8-bit floats need scales that no name here knows."""


def is_weights_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names a file of weights, or a pickle, which will be rejected."""
    return Path(path).suffix in {".safetensors", *PICKLES}


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return all tensors of a safetensors file; floating-point ones as float32.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    path = Path(path).expanduser()
    if path.suffix in PICKLES:
        raise UserError(
            f"expected a .safetensors file, got {path}, a pickle, which could run any code when "
            "opened; try in Python with torch, for a file that you trust: safetensors.torch."
            f"save_file(torch.load('{path.name}', weights_only=True), '{path.stem}.safetensors')"
        )
    if not path.is_file():
        raise UserError(f"expected a .safetensors file, got none at {path}; try its whole path")
    from safetensors import SafetensorError, safe_open

    try:
        # In the Flax framework, because numpy itself has no bfloat16.
        with safe_open(path, framework="flax", device="cpu") as file:
            names = file.keys()
            for name in names:
                _check_type(file.get_slice(name).get_dtype(), name, path)
            return {name: _plain(np.asarray(file.get_tensor(name))) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"expected a .safetensors file, got {path}: {error}; try to download it again"
        ) from error


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors by name, with the metadata for PyTorch's layout that other readers need.

    Raises:
        UserError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        save_file(whole, path, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise UserError(f"expected to write {path}, got: {error}; try another folder") from error


def _check_type(dtype: str, name: str, path: Path) -> None:
    """Raise unless a tensor holds numbers that have their meaning without a scale."""
    if dtype not in _TYPES:
        raise UserError(
            f"expected tensors of real numbers of 16 bits or more, or integers, got {dtype} for "
            f"'{name}' in {path}; try the same weights in bfloat16 or float32"
        )


def _plain(tensor: np.ndarray) -> np.ndarray:
    return tensor if tensor.dtype.kind in "biu" else tensor.astype(np.float32)
