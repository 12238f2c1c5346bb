"""Convert user inputs (images, paths or arrays) into batches for a trained network."""

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, UserError, unknown
from imgrec_jax.core.task import Facts
from imgrec_jax.data.images.read import fit_images, read_images, read_whole

Images = np.ndarray | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""Images as uint8[n, h, w, c] (uint16 if the run was trained on uint16), or their paths."""
Fields = Mapping[str, np.ndarray]
"""Arrays [n, ...] by field, in the form of `facts["element_spec"]`."""


def input_batches(
    given: Images | Fields, config: Config, facts: Facts
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches in the input form of a network, of at most `eval_batch_size`.

    Images of another size are cropped and resized as in the folder source.

    Raises:
        UserError: a file is not an intact image.
        UsageError: an array or a field has another form.
    """
    size = config.eval_batch_size
    if isinstance(given, Mapping):
        fields = _checked(given, facts)
        for first in range(0, len(next(iter(fields.values()))), size):
            yield {name: array[first : first + size] for name, array in fields.items()}
        return
    height, width, channels = facts["image_shape"]
    if facts.get("any_size"):
        yield {"image": _of_any_size(given, channels)}
        return
    form = (height, width, channels), config.data.dtype, config.data.center_crop
    several = [given] if isinstance(given, str | os.PathLike) else given
    if len(several) == 0:
        raise UsageError("expected images, got none; try an array or paths")
    for first in range(0, len(several), size):
        part = several[first : first + size]
        if not isinstance(part[0], str | os.PathLike):
            yield {"image": fit_images(np.asarray(part), *form)}
            continue
        read = read_images(part, *form)  # pyright: ignore[reportArgumentType]
        if error := next((p for p in read if isinstance(p, UserError)), None):
            raise error
        yield {"image": np.stack(read)}  # pyright: ignore[reportArgumentType, reportCallIssue]


def _of_any_size(given: Images, channels: int) -> np.ndarray:
    """Return images [n, h, w, c] in their own size, which they share."""
    if isinstance(given, str | os.PathLike):
        given = [given]
    if not isinstance(given, np.ndarray):
        read = [read_whole(path, channels) for path in given]
        if error := next((part for part in read if isinstance(part, UserError)), None):
            raise error
        if len({part.shape for part in read if isinstance(part, np.ndarray)}) != 1:
            raise UsageError(
                f"expected images of one size in a call, got {len(read)} of several; "
                "try one call for each"
            )
        given = np.stack(read)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if given.ndim != 4 or given.shape[-1] != channels or given.dtype not in (np.uint8, np.uint16):
        raise UsageError(
            f"expected images as uint8[n, h, w, {channels}], got {given.dtype}"
            f"{list(given.shape)}; try images[None] for a single one"
        )
    return given


def _checked(fields: Fields, facts: Facts) -> dict[str, np.ndarray]:
    """Return fields as arrays, or raise if one does not match the element spec."""
    spec, arrays = facts["element_spec"], {n: np.asarray(a) for n, a in fields.items()}
    for name, array in arrays.items():
        if name == "index":
            continue
        if name not in spec:
            raise unknown("field", name, spec)
        shape, dtype = tuple(spec[name]["shape"]), spec[name]["dtype"]
        if array.shape[1:] != shape or array.dtype != dtype:
            raise UsageError(
                f"expected '{name}' as {dtype}[n, {', '.join(map(str, shape))}], got "
                f"{array.dtype}{list(array.shape)}; try .astype or the run's own form"
            )
    if len({len(array) for array in arrays.values()}) != 1 or not len(next(iter(arrays.values()))):
        raise UsageError(
            "expected fields with as many rows as each other, and one at least, got "
            f"{ {name: len(array) for name, array in arrays.items()} }; try another slice"
        )
    return arrays
