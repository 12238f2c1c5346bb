"""Find the images and text files of a YOLO data set, and read its `data.yaml`.

In the YAML file `train`, `val` and `test` are folders of images, lists of their paths (`.txt`), or
several of these; `names` is a list or a table of class names. Paths may be those of another
machine: the longest end of a path that exists here counts. Without such a file a `train.txt` of
paths or the folders say the splits, and `classes.txt` or `obj.names` the classes.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec_jax.core.decode_text import decode_text
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import existing_path, full_name, list_files, read_files
from imgrec_jax.data.files.archive import split_suffix
from imgrec_jax.data.layout.annotation_files import check_once, choose_image, match_images
from imgrec_jax.data.layout.folder_roles import read_places
from imgrec_jax.data.layout.listing import is_image
from imgrec_jax.data.layout.split_names import SPLITS, split_of, without_overlaps
from imgrec_jax.data.layout.unread import warn_unread_files

_LOGGER = logging.getLogger(__name__)
_YAML = (".yaml", ".yml")
_MOST_YAML = 1 << 20  # bytes
_CLASS_LISTS = re.compile(r"(?:.*/)?(?:classes\.txt|.+\.names|_darknet\.labels)", re.IGNORECASE)
_ENTRIES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class YoloFiles:
    """The files of a data set; names are relative to its root.

    Attributes:
        root: the folder or archive.
        splits: the images of each split, sorted.
        labels: the text file of each image that has one.
        names: the class names by number; {} if no file names them.
        points: whether key points follow the boxes.
    """

    root: Path
    splits: dict[str, list[str]]
    labels: dict[str, str]
    names: dict[int, str]
    points: bool


def find_yolo(where: str) -> YoloFiles:
    """Find the files of a data set; see `yolo.open_yolo`.

    Raises:
        UsageError: no such path.
        UserError: there are no images, or a file contradicts another.
    """
    path = existing_path(where, "yolo")
    given = path.name if path.suffix.lower() in _YAML else ""
    root = path.parent if given else path
    if not root.is_dir() and not split_suffix(root)[1]:
        raise UserError(f"expected a folder, an archive or a YAML file, got {path}; try another")
    names = sorted(list_files(root))
    warn_unread_files(names, str(root))
    texts = _read_texts(root, names)
    about = _read_yaml(given or _choose_yaml(texts), texts, root)
    images = [name for name in names if is_image(name)]
    if not images:
        raise UserError(f"expected images in {root}, got none; try another path")
    splits = _splits_of_yaml(about, images, texts, root) or _other_splits(images, texts)
    return YoloFiles(
        root,
        splits,
        _labels(names, root),
        _class_names(about, texts, root),
        "kpt_shape" in about,
    )


def _read_texts(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the text of all small files that may describe the data set."""

    def describes(name: str) -> bool:
        suffix = Path(name).suffix.lower()
        stem = Path(name).stem
        return name.count("/") <= 1 and (
            suffix in _YAML
            or bool(_CLASS_LISTS.fullmatch(name))
            or (suffix == ".txt" and bool(split_of(stem)) and "/" not in name)
        )

    wanted = frozenset(name for name in names if describes(name))
    return {n: decode_text(data, full_name(root, n)) for n, data in read_files(root, wanted)}


def _choose_yaml(texts: Mapping[str, str]) -> str:
    """Return the YAML file that names classes or splits, the first at the top or else below; ""."""
    found = [
        name
        for name, text in texts.items()
        if name.lower().endswith(_YAML) and re.search(r"^(?:names|train)\s*:", text, re.MULTILINE)
    ]
    return min(found, key=lambda name: (name.count("/"), name), default="")


def _read_yaml(name: str, texts: Mapping[str, str], root: Path) -> dict[str, Any]:
    if not name:
        return {}
    import yaml

    where, text = full_name(root, name), texts[name]
    try:
        if len(text) > _MOST_YAML:
            raise yaml.YAMLError(f"it has {len(text):,} characters")
        about = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UserError(f"expected YAML, got {where}{line}: {why}; try correcting it") from error
    if not isinstance(about, dict):
        raise UserError(f"expected 'names:' and 'train:' in {where}, got none; try another file")
    return about


def _splits_of_yaml(
    about: Mapping[str, Any], images: Sequence[str], texts: Mapping[str, str], root: Path
) -> dict[str, list[str]]:
    """Return the images of each split that the YAML file names; {} if it names none."""
    splits = {}
    for split, keys in _ENTRIES.items():
        entry = next((about[key] for key in keys if about.get(key)), None)
        if entry is None:
            continue
        some = entry if isinstance(entry, list) else [entry]
        found = sorted({image for part in some for image in _under(str(part), images, texts)})
        if found:
            splits[split] = found
        elif split == "train":
            raise UserError(
                f"expected images of train at '{entry}' in {root}, got none there; "
                "try correcting 'train:' in its YAML file"
            )
        else:
            _LOGGER.warning("%s: no images at '%s', %s is left out", root, entry, split)
    return splits


def _under(entry: str, images: Sequence[str], texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the images in a folder, or those that a list names."""
    parts = [p for p in entry.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    if not parts:
        yield from images
    for tail in _tails(parts):
        if tail in texts:
            yield from _listed(tail, texts, images)
            return
        if found := [image for image in images if image.startswith(f"{tail}/")]:
            yield from found
            return


def _listed(name: str, texts: Mapping[str, str], images: Sequence[str]) -> Iterator[str]:
    """Yield the images whose paths are on the lines of a list."""
    known = set(images)
    missing = []
    for line in map(str.strip, texts[name].splitlines()):
        parts = [part for part in line.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if found := next((tail for tail in _tails(parts) if tail in known), ""):
            yield found
        elif parts:
            missing.append(line)
    if missing:
        _LOGGER.warning(
            "%s: %d lines name no image of the data set, such as '%s'",
            name, len(missing), missing[0],
        )  # fmt: skip


def _tails(parts: Sequence[str]) -> Iterator[str]:
    """Yield a path without its first parts, as long as none of those names a split."""
    for first, part in enumerate(parts):
        yield "/".join(parts[first:])
        if split_of(part):
            return


def _other_splits(images: Sequence[str], texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the images of each split by lists at the top, else by folders."""
    lists = {n: split_of(Path(n).stem) for n in texts if n.lower().endswith(".txt")}
    by_list = {
        split: sorted(set(_listed(name, texts, images)))
        for name, split in without_overlaps(lists, lambda name: Path(name).stem).items()
        if split
    }
    if any(by_list.values()):
        return {split: by_list[split] for split in SPLITS if by_list.get(split)}
    places = read_places(images)
    by_folder = {s: [n for n in images if places[n].split == s] for s in SPLITS}
    return {split: some for split, some in by_folder.items() if some}


def _labels(names: Sequence[str], root: Path) -> dict[str, str]:
    """Return the text file of each image that has one."""
    texts = [name for name in names if name.lower().endswith(".txt")]
    found = match_images(names, texts)
    owners = {
        text: choose_image(images, "", full_name(root, text))
        for text, images in found.items()
        if images
    }
    check_once(owners, str(root))
    return {image: text for text, image in owners.items()}


def _class_names(about: Mapping[str, Any], texts: Mapping[str, str], root: Path) -> dict[int, str]:
    """Return the class names by number.

    Raises:
        UserError: they are no list or table of different names.
    """
    named = about.get("names")
    if named is None:
        lists = [text for name, text in texts.items() if _CLASS_LISTS.fullmatch(name)]
        named = [line.strip() for line in lists[0].splitlines() if line.strip()] if lists else []
    try:
        table = dict(enumerate(named)) if isinstance(named, list) else dict(named)
        names = {int(number): str(name) for number, name in sorted(table.items())}
    except (TypeError, ValueError):
        names = {-1: ""}
    if min(names, default=0) < 0 or len(set(names.values())) < len(names):
        twice = [name for name in names.values() if list(names.values()).count(name) > 1]
        raise UserError(
            f"expected different class names, numbered from 0, in {root}, got "
            f"{f'{twice[0]!r} twice' if twice else repr(named)[:60]}; try correcting 'names:'"
        )
    return names
