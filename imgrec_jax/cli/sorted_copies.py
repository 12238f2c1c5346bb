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
    """A folder that copies of images are sorted into. Nothing is moved, nothing overwritten.

    Args:
        root: the folder; it is made with the first copy.
        labels: the class names, in the order of their numbers.
    """

    def __init__(self, root: Path, labels: Sequence[str]) -> None:
        self._root = root.expanduser()
        self._folders = folder_names(labels)

    def add(self, image: Path, label: int, *, sure: bool) -> Path:
        """Copy an image to the folder of a class, or to `unsure`, and return the copy's path.

        A file of the same name there is kept: one of the same content is the copy already, beside
        another the copy gets a number.

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
                    # Only where nothing is: mode x refuses what another process has just made.
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
    """Return a folder's name for each class: readable, safe on every system, no two alike.

    What is no letter, digit or one of ` .()+,-_` becomes `_`; a name that is taken, also by
    `unsure` or but for its case, gets a number.
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
