"""Copy images into one folder per class."""

import filecmp
import itertools
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from imgrec_jax.core.errors import UserError

UNSURE = "unsure"
_MOST = 60  # characters of a folder's name: at most 240 bytes, and file systems allow 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


class Copies:
    """A folder into which images are copied by class. No file is moved or overwritten.

    Args:
        root: the folder; the first copy creates it.
        labels: the class names, in the order of their numbers.
    """

    def __init__(self, root: Path, labels: Sequence[str]) -> None:
        self._root = root.expanduser()
        self._folders = folder_names(labels)

    def add(self, image: Path, label: int, *, sure: bool) -> Path:
        """Copy an image to the folder of a class, or to `unsure`, and return the copy's path.

        An existing file of the same name is kept. If its content is the same, it is the copy;
        otherwise the copy gets a number.

        Raises:
            UserError: the copy cannot be written.
        """
        folder = self._root / (self._folders[label] if sure else UNSURE)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for n in itertools.count(1):
                number = f"_{n}" if n > 1 else ""
                copy = folder / f"{image.stem}{number}{image.suffix}"
                try:
                    # Mode x fails if another process has just created the file.
                    with image.open("rb") as source, copy.open("xb") as target:
                        shutil.copyfileobj(source, target)
                except FileExistsError:
                    if copy.is_file() and filecmp.cmp(image, copy, shallow=False):
                        return copy
                    continue
                shutil.copystat(image, copy)
                return copy
        except OSError as error:
            raise UserError(
                f"expected to copy {image} to {folder}, got '{error.strerror}'; "
                "try another --copy_to"
            ) from error
        raise AssertionError("numbers do not end")


def folder_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return a folder name for each class: readable, safe on every system, unique.

    Characters other than letters, digits and ` .()+,-_` become `_`. A name gets a number if it is
    taken or equals `unsure`, compared without case.
    """
    taken = {UNSURE}
    names: list[str] = []
    for label in labels:
        name = _safe(label)
        others = (f"{name}_{n}" for n in itertools.count(2))
        free = next(n for n in itertools.chain([name], others) if n.casefold() not in taken)
        taken.add(free.casefold())
        names.append(free)
    return tuple(names)


def _safe(label: str) -> str:
    known = label.encode(sys.getfilesystemencoding(), "replace").decode(sys.getfilesystemencoding())
    name = re.sub(r"[^\w .()+,-]", "_", known)[:_MOST].strip(" .")
    return f"{name}_" if not name or _RESERVED.fullmatch(name) else name
