"""List and read files in a folder or an archive through one interface."""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from imgrec_jax.core.errors import UsageError, UserError, did_you_mean
from imgrec_jax.data.files import archive, folder_tree
from imgrec_jax.data.files.size_limit import size_limit, too_large


def existing_path(where: str, kind: str) -> Path:
    """Return the path written after `kind:`; `~` is the home directory.

    Raises:
        UsageError: the path does not exist (the message proposes one that does), or is neither a
            folder nor a regular file.
    """
    path = Path(os.path.expanduser(where))
    if where and os.path.exists(path):
        if not (path.is_dir() or path.is_file()):
            raise UsageError(
                f"expected a folder or a regular file after '{kind}:', got '{where}', which is "
                "neither; try the path of a file"
            )
        return path
    siblings = os.listdir(path.parent) if os.access(path.parent, os.R_OK | os.X_OK) else []
    hint = did_you_mean(path.name, siblings) or ";"
    raise UsageError(
        f"expected a path after '{kind}:', got '{where}', which does not exist{hint} "
        f"try --config.data.source={kind}:PATH"
    )


def list_files(root: Path) -> list[str]:
    """Return the names of all files of a folder or archive, with "/" between their parts.

    `folder_tree` says what is followed and skipped in a folder; in an archive links are skipped.
    Hidden files and leftovers of macOS are left out.

    Raises:
        UserError: a folder, or the archive, cannot be read.
    """
    if not root.is_dir():
        names = [name for name, _ in archive.entries(root)]
    else:
        names = _names_in_folder(root)
    return [name for name in names if not any(map(folder_tree.is_hidden, name.split("/")))]


def _names_in_folder(root: Path) -> list[str]:
    try:
        folders = folder_tree.walk(root).folders
    except OSError as error:
        raise unreadable(root, error) from error
    return [
        f"{folder.name}/{file}" if folder.name else file
        for folder in folders
        for file in folder.files
    ]


def read_files(root: Path, requested: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and contents of the wanted files; those of an archive in its order.

    Raises:
        UserError: a file cannot be read.
    """
    if root.is_dir():
        for name in requested:
            yield name, read_file(file_path(root, name))
    else:
        for name, read in archive.entries(root):
            if name in requested:
                yield name, read()


def file_path(root: Path, name: str) -> Path:
    """Return the path of a listed name in the operating system's format."""
    return root / os.fsdecode(name.encode("utf-8", "surrogateescape"))


def read_file(path: Path) -> bytes:
    """Return the contents of a regular file; what is none could be without end, or never begin.

    Raises:
        UserError: it cannot be read, is no regular file, or is larger than `size_limit` allows.
    """
    limit = size_limit()
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if status.st_size > limit:
                raise too_large(path, limit)
            if stat.S_ISREG(status.st_mode):
                return file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    raise UserError(f"expected a regular file, got {path}, which is none; try removing it")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for the other end, which a FIFO may never get."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def full_name(root: Path, name: str) -> str:
    """Return the name of a file of a folder or archive, for messages."""
    return str(root / name) if root.is_dir() else f"{root}: {archive.readable(name)}"


_ADVICE = {
    errno.ENOENT: "restoring it, or removing what names it",
    errno.ENOTDIR: "restoring it, or removing what names it",
    errno.ELOOP: "removing the link, which leads back to itself",
    errno.EISDIR: "moving the folder away",
    errno.EACCES: "changing its permissions",
    errno.EPERM: "changing its permissions",
    errno.EMFILE: "a higher limit of open files (ulimit -n)",
    errno.ENFILE: "closing other programs",
    errno.ENAMETOOLONG: "a shorter name",
    errno.EIO: "copying it again, perhaps from another disk",
    errno.ESTALE: "mounting the network disk again",
}


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a path that the operating system cannot read, with fitting advice."""
    name = Path(os.fsdecode(error.filename)) if error.filename else path
    why = error.strerror or str(error)
    if error.errno == errno.ENOENT:
        why = "it is a link to a missing file" if os.path.islink(name) else "it is missing"
    advice = _ADVICE.get(error.errno or 0, "copying it again")
    return UserError(f"expected a readable file or folder, got {name}: {why}; try {advice}")
