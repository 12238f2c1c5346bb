"""Read the shapes in the JSON files of labelme, one file for each image."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.parse_json import parse_json
from imgrec_jax.data.files.access import existing_path, full_name, list_files, read_files
from imgrec_jax.data.files.archive import split_suffix
from imgrec_jax.data.layout.annotation_files import (
    check_once,
    choose_image,
    match_images,
    warn_unannotated,
)
from imgrec_jax.data.layout.folder_roles import read_places
from imgrec_jax.data.layout.split_names import SPLITS
from imgrec_jax.data.layout.unread import warn_unread_files
from imgrec_jax.data.sources.box_annotations import Box

_LOGGER = logging.getLogger(__name__)
_LEAST_POINTS = {"rectangle": 2, "polygon": 3, "circle": 2}
_WITHOUT_AREA = {"point", "points", "line", "linestrip"}

Points = list[tuple[float, float]]


class Shape(NamedTuple):
    """An annotated shape: its label, its kind, its points in pixels, and its place for messages."""

    label: str
    kind: str
    points: Points
    where: str

    def box(self) -> Box:
        """Return x0, y0, x1, y1 around the shape."""
        if self.kind == "circle":
            (x, y), radius = self.points[0], math.dist(*self.points[:2])
            return x - radius, y - radius, x + radius, y + radius
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Labelled:
    """An image with its shapes; width and height are 0 if they are not annotated."""

    image: str
    width: int
    height: int
    shapes: list[Shape]


def read_shapes(where: str) -> tuple[Path, dict[str, list[Labelled]]]:
    """Return the folder or archive, and its images with their shapes by split.

    Raises:
        UsageError: no such path.
        UserError: it is not such a data set, is damaged, or cannot be read.
    """
    root = existing_path(where, "labelme")
    if not root.is_dir() and not split_suffix(root)[1]:
        raise UserError(f"expected a folder or an archive, got {root}; try another path")
    names = list_files(root)
    warn_unread_files(names, str(root))
    files = [name for name in names if name.lower().endswith(".json")]
    contents = {
        name: content
        for name, data in read_files(root, frozenset(files))
        if isinstance(content := parse_json(data, full_name(root, name)), dict)
        and isinstance(content.get("shapes"), list)
    }
    if not contents:
        raise UserError(
            f"expected JSON files of labelme (with 'shapes') in {root}, got none of "
            f"{len(files)} JSON files; try another path"
        )
    candidates = match_images(names, contents)
    images = {
        name: _image(content, candidates[name], full_name(root, name))
        for name, content in sorted(contents.items())
    }
    check_once(images, str(root))
    warn_unannotated(names, images.values(), str(root))
    places = read_places(list(images))
    left_out: list[str] = []
    splits: dict[str, list[Labelled]] = {}
    for name, image in images.items():
        where = full_name(root, name)
        shapes = list(_shapes(contents[name]["shapes"], where, left_out))
        width, height = (_side(contents[name].get(f"image{s}")) for s in ("Width", "Height"))
        splits.setdefault(places[name].split, []).append(Labelled(image, width, height, shapes))
    if left_out:
        _LOGGER.warning(
            "%s: %d shapes without area are left out, such as %s", root, len(left_out), left_out[0]
        )
    return root, {split: splits[split] for split in SPLITS if split in splits}


def _image(content: Mapping[str, Any], candidates: Sequence[str], where: str) -> str:
    if image := choose_image(candidates, str(content.get("imagePath") or ""), where):
        return image
    raise UserError(
        f"expected the image of {where} in the same or a parallel folder, got none of its name; "
        "try copying it there"
    )


def _shapes(entries: Sequence[Any], where: str, left_out: list[str]) -> Iterator[Shape]:
    """Yield the shapes with an area, and add the places of those without to `left_out`."""
    for number, found in enumerate(entries, 1):
        place = f"{where}, shape {number}"
        entry = found if isinstance(found, dict) else {}
        kind, label = str(entry.get("shape_type") or "polygon"), entry.get("label")
        if kind in _WITHOUT_AREA:
            left_out.append(place)
            continue
        points = _points(entry.get("points"))
        if not isinstance(label, str) or len(points) < _LEAST_POINTS.get(kind, len(points) + 1):
            raise UserError(
                f"expected a label and a {', '.join(_LEAST_POINTS)} with its points, got "
                f"{label!r} and {kind[:30]!r} with {len(points)} in {place}; try correcting it"
            )
        yield Shape(label, kind, points, place)


def _points(value: Any) -> Points:
    """Return points as pairs of finite numbers; [] if they are not."""
    try:
        points = [(float(x), float(y)) for x, y in value]
    except (TypeError, ValueError, OverflowError):
        return []
    return points if all(math.isfinite(c) for point in points for c in point) else []


def _side(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
