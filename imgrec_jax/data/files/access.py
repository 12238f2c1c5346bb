"""List and read files in a folder or an archive through one interface."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from imgrec_jax.core.errors import UsageError, UserError, did_you_mean
from imgrec_jax.data.files import archive


def existing_path(where: str, kind: str) -> Path:
    """Return the path written after `kind:`; `~` is the home directory.

    Raises:
        UsageError: the path does not exist; the message proposes one that does.
    """
    path = Path(os.path.expanduser(where))
    if where and os.path.exists(path):
        return path
    siblings = os.listdir(path.parent) if os.access(path.parent, os.R_OK | os.X_OK) else []
    hint = did_you_mean(path.name, siblings) or ";"
    raise UsageError(
        f"expected a path after '{kind}:', got '{where}', where nothing is{hint} "
        f"try --config.data.source={kind}:PATH"
    )


def list_files(root: Path) -> list[str]:
    """Return the names of all files of a folder or archive, with "/" between their parts.

    Links in a folder are followed, except to a folder that contains them; in an archive they are
    skipped. Hidden files and folders are skipped too, as are those that macOS adds to archives.

    Raises:
        UserError: a folder, or the archive, cannot be read.
    """
    if not root.is_dir():
        names = [name for name, _ in archive.entries(root)]
        return [name for name in names if not any(map(is_hidden, name.split("/")))]
    names: list[str] = []
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_raise_unreadable):
        here = os.path.realpath(folder) + os.sep
        subfolders[:] = [
            name
            for name in subfolders
            if not is_hidden(name)
            and not here.startswith(os.path.realpath(os.path.join(folder, name)) + os.sep)
        ]
        above = os.path.relpath(folder, root).replace(os.sep, "/")
        before = "" if above == "." else f"{above}/"
        names += [before + name for name in files if not is_hidden(name)]
    return names


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def read_files(root: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and contents of the wanted files; those of an archive in its order.

    Raises:
        UserError: a file cannot be read.
    """
    if root.is_dir():
        for name in wanted:
            yield name, read_file(file_path(root, name))
    else:
        for name, read in archive.entries(root):
            if name in wanted:
                yield name, read()


def file_path(root: Path, name: str) -> Path:
    """Return the path of a listed name in the operating system's format."""
    return root / os.fsdecode(name.encode("utf-8", "surrogateescape"))


def read_file(path: Path) -> bytes:
    """Return the contents of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def full_name(root: Path, name: str) -> str:
    """Return the name of a file of a folder or archive, for messages."""
    return str(root / name) if root.is_dir() else f"{root}: {archive.readable(name)}"


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a path that the operating system cannot read."""
    return UserError(
        f"expected a readable file or folder, got {error.filename or path}: "
        f"{error.strerror or error}; try changing its permissions"
    )


def _raise_unreadable(error: OSError) -> None:
    raise unreadable(Path(error.filename or ""), error) from error
