"""Output files of `predict` for masks and boxes: drawings and one JSON document."""

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.core.errors import UserError

DOCUMENT = "predictions.json"


def draw_all(
    run: Any, paths: Sequence[str], out: str
) -> tuple[list[tuple[dict[str, Any], str]], dict[str, str]]:
    """Return record and phrase of each image, and an error for each unreadable image.

    With `out`, a folder, the drawings of each image (`NAME_KIND.png`) and one JSON document of
    all are written to it; files of an earlier call are overwritten, and images of the same name
    get numbers.

    Raises:
        UserError: a file cannot be written.
    """
    from imgrec_jax.data.images.bit_depth import as_rgb
    from imgrec_jax.data.images.read import read_whole

    drawing = run.presentation
    found: list[tuple[dict[str, Any], str]] = []
    failed: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        image = read_whole(path, run.image_shape[-1], run.config.data.dtype)
        if isinstance(image, UserError):
            failed[path] = str(image)
            continue
        answer = run.look(image)
        height, width = image.shape[:2]
        about = {"image": path, "width": width, "height": height}
        record = {**about, **drawing.record(answer, run.facts)}
        found.append((record, drawing.phrase(record)))
        if out:
            name = _free_name(Path(path).stem, taken)
            for kind, pixels in drawing.draw(answer, as_rgb(image), run.facts).items():
                write_png(Path(out), f"{name}_{kind}.png", pixels)
    if out and found:
        document = drawing.document([record for record, _ in found], run.facts)
        _write(Path(out), DOCUMENT, f"{json.dumps(document, ensure_ascii=False)}\n".encode())
    return found, failed


def _free_name(stem: str, taken: set[str]) -> str:
    others = (f"{stem}_{n}" for n in itertools.count(2))
    name = next(n for n in itertools.chain([stem], others) if n.casefold() not in taken)
    taken.add(name.casefold())
    return name


def write_png(folder: Path, name: str, pixels: np.ndarray) -> None:
    """Write an image uint8[h, w, 3] to a folder, which is created if missing.

    Raises:
        UserError: the file cannot be written.
    """
    from imgrec_jax.data.images import bit_depth

    cv2 = bit_depth.opencv()
    data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
    _write(folder, name, data)


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder.expanduser() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UserError(
            f"expected to write {os.fspath(path)}, got '{error.strerror}'; try another --out"
        ) from error
