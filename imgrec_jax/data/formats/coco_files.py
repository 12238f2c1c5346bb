"""Find the JSON files of a COCO data set, and the images that they name."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import list_files
from imgrec_jax.data.layout.split_names import SPLITS, split_in, split_of, without_overlaps

_LOGGER = logging.getLogger(__name__)
_TOO_DEEP = 2  # folders above a JSON
_ANNOTATIONS = "annotation"  # the start of a folder's name that holds no images


@dataclass(frozen=True)
class CocoFiles:
    """The files of a data set.

    Attributes:
        root: the folder; names are relative to it.
        json: the JSON file of each split.
        names: all files.
    """

    root: Path
    json: dict[str, str]
    names: frozenset[str]


def find_coco(path: Path) -> CocoFiles:
    """Find the JSON file of each split of a folder, or take the one file that `path` is as train.

    Raises:
        UserError: there is none, or several for a split.
    """
    if path.is_dir():
        names = list_files(path)
        return CocoFiles(path, _choose(names, path), frozenset(names))
    within = path.parent.name.lower().startswith(_ANNOTATIONS)
    root = path.parent.parent if within else path.parent
    name = path.relative_to(root).as_posix()
    if split_in(_stem(name)) in ("val", "test"):
        _LOGGER.warning("%s is read as train: it is the only file", path)
    return CocoFiles(root, {"train": name}, frozenset(list_files(root)))


def _choose(names: Sequence[str], path: Path) -> dict[str, str]:
    found = sorted(n for n in names if n.lower().endswith(".json") and n.count("/") <= _TOO_DEEP)
    splits = without_overlaps({name: _split_of(name) for name in found}, _stem)
    files: dict[str, str] = {}
    for split in ("", *SPLITS):
        some = [name for name, named in splits.items() if named == split]
        some = [name for name in some if _stem(name).startswith("instances_")] or some
        if len(some) > 1 and split:
            raise UserError(
                f"expected one JSON file for {split} in {path}, got {some[0]} and {some[1]}; "
                "try moving one of them away"
            )
        if len(some) == 1:
            files[split] = some[0]
    if alone := files.pop("", None):  # one file without the name of a split is train
        files = {"train": alone, **files}
    if not files:
        raise UserError(
            f"expected JSON files of splits in {path}, such as "
            f"annotations/instances_train2017.json, got {', '.join(found[:3]) or 'none'}; "
            "try another path"
        )
    return files


def find_images(
    names: Sequence[str], json: str, split: str, files: Collection[str], where: str
) -> list[str]:
    r"""Return the files that a JSON file means by its `file_name`s.

    They are relative to the JSON's folder, the top, or a folder there with the name of the split or
    the end of the JSON's name (`train2017`), directly or below `images`; else to the only folder
    that holds the first of them. Their own first folders may be those of another machine
    (`C:\data\images\1.jpg`).

    Args:
        names: the `file_name` of each image, at least one.
        json: the name of the JSON file.
        split: its split.
        files: all files.
        where: the data set, for messages.

    Raises:
        UserError: the first image is missing, or two entries are one file.
    """
    paths = [_parts(name, json) for name in names]
    candidates = list(_candidates(json, split))
    strip, folder = _locate(paths[0], candidates, split, files)
    if strip < 0:
        tried = ", ".join(dict.fromkeys(folder or "." for folder in candidates))
        raise UserError(
            f"expected the image {'/'.join(paths[0])} of {json} in {where} (looked in {tried}), "
            "got none; try moving the images there"
        )
    images = [folder + "/".join(path[min(strip, len(path) - 1) :]) for path in paths]
    first: dict[str, int] = {}
    for row, image in enumerate(images):
        if (other := first.setdefault(image, row)) != row:
            raise UserError(
                f"expected each image once in {json} of {where}, got entries {other + 1} "
                f"('{names[other]}') and {row + 1} ('{names[row]}') for {image}; "
                "try joining their annotations"
            )
    return images


def _locate(
    path: Sequence[str], candidates: Sequence[str], split: str, files: Collection[str]
) -> tuple[int, str]:
    """Return how many parts of a path to leave out, and the folder of the rest; -1 if missing."""
    for strip in range(len(path)):
        tail = "/".join(path[strip:])
        for folder in candidates:
            if folder + tail in files:
                return strip, folder
    tail = path[-1]
    deep = [name.removesuffix(tail) for name in files if name.endswith(f"/{tail}")]
    of_split = [f for f in deep if any(split_of(part) == split for part in f.split("/"))]
    for some in (deep, of_split):
        if len(some) == 1:
            return len(path) - 1, some[0]
    return -1, ""


def _candidates(json: str, split: str) -> Iterator[str]:
    """Yield the folders in which the images of a JSON file may be, with "/" at their ends."""
    here = json.rpartition("/")[0]
    yield f"{here}/" if here else ""
    yield ""
    for above in ("", "images/"):
        for name in dict.fromkeys((_stem(json).rpartition("_")[2], split_in(_stem(json)), split)):
            if name:
                yield f"{above}{name}/"
    yield "images/"


def _parts(name: str, json: str) -> list[str]:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise UserError(
            f"expected the names of images inside the folder, got '{name}' in {json}; "
            "try correcting the file"
        )
    return parts


def _split_of(name: str) -> str:
    """Return the split in the name of a JSON file, or of the nearest folder that names one."""
    *folders, _ = name.split("/")
    return split_in(_stem(name)) or next((s for f in reversed(folders) if (s := split_of(f))), "")


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
