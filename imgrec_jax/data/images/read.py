"""Read images in the form that a trained network takes."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.access import read_file
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.resize import fit

Shape = tuple[int, int, int]


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    shape: Shape,
    dtype: str = "uint8",
    center_crop: float = 1.0,
) -> list[np.ndarray | UserError]:
    """Return each image as uint8 or uint16 of the given shape, or an error with its name.

    Images are decoded as in the folder source; a network for grey images gets their luminance.
    """

    def read(path: str | os.PathLike[str]) -> np.ndarray | UserError:
        image = read_whole(path, shape[-1], dtype)
        if isinstance(image, UserError):
            return image
        try:
            return fit_images(image[None], shape, dtype, center_crop, os.fspath(path))[0]
        except UserError as error:
            return error

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, paths))


def read_whole(
    path: str | os.PathLike[str], channels: int, dtype: str = "uint8"
) -> np.ndarray | UserError:
    """Return an image [h, w, channels] in its own size, or an error with its name."""
    name, file = os.fspath(path), Path(path).expanduser()
    if not file.exists():
        return UserError(f"expected an image, got {name}, which does not exist; try another path")
    try:
        return decode(read_file(file), name, channels=channels, dtype=dtype)
    except UserError as error:
        return error


def fit_images(
    images: np.ndarray,
    shape: Shape,
    dtype: str = "uint8",
    center_crop: float = 1.0,
    name: str = "the array",
) -> np.ndarray:
    """Return [n, *shape]: images of another size are cropped and resized as in `resize.fit`.

    Raises:
        UsageError: `images` is not [n, h, w, c] with the dtype and the channels of the network, has
            no pixels, or has another size and the network does not take square images.
    """
    height, width, channels = shape
    fits = images.dtype == dtype and images.ndim == 4 and images.shape[-1] == channels
    if not fits or 0 in images.shape[1:]:
        hint = "images[None] for a single one" if images.ndim == 3 else "RGB or grey as in training"
        raise UsageError(
            f"expected images as {dtype}[n, {height}, {width}, {channels}] in {name}, got "
            f"{images.dtype}{list(images.shape)}; try {hint}"
        )
    if images.shape[1:3] == (height, width):
        return images
    if height != width:
        raise UsageError(
            f"expected images of {width}x{height} as in training, got "
            f"{images.shape[2]}x{images.shape[1]} in {name}; try resizing it"
        )
    fitted = [fit(image, height, center_crop) for image in images]
    return np.stack(fitted) if fitted else np.zeros((0, *shape), dtype)
