"""Walk a folder once: its regular files, through links, without circles.

| entry                                      | what happens                                |
|--------------------------------------------|---------------------------------------------|
| link to a file or a folder                 | followed                                    |
| link to nothing                            | listed: the error is the file's when read   |
| link that leads back to its own folder     | skipped, named in a warning                 |
| FIFO, socket, device, or a link to one     | skipped, named in a warning                 |
| hidden folder, `__MACOSX`                  | skipped                                     |
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from imgrec_jax.data.files.archive import readable
from imgrec_jax.data.files.skipped import warn_skipped

Key = tuple[int, int]
"""Device and inode of a folder, by which two paths to it are recognised."""


class Folder(NamedTuple):
    """A folder in a tree.

    Attributes:
        name: relative to the top, with "/" between its parts; "" is the top.
        files: the sorted names of its files.
        stamp: modification time in nanoseconds and inode; they change with its files.
    """

    name: str
    files: list[str]
    stamp: tuple[int, int]


class Tree(NamedTuple):
    """All folders below a top, sorted by name, and the names of the entries left out."""

    folders: list[Folder]
    skipped: list[str]


class _Node(NamedTuple):
    """The entries of one folder, read once however many links lead to it."""

    path: str
    stamp: tuple[int, int]
    files: list[str]
    links: list[str]
    subfolders: list[str]
    others: list[str]


def walk(root: Path) -> Tree:
    """Return the tree of a folder, with one warning that names what is skipped.

    Raises:
        OSError: a folder cannot be read.
    """
    nodes, keys = _read_nodes(os.fspath(root))
    circles = set(_circles(nodes, keys))
    skipped = sorted(
        os.path.join(node.path, _local(name)) for node in nodes.values() for name in node.others
    ) + sorted(circles)
    names = [_relative(path, root) for path in skipped]
    warn_skipped(root, map(readable, names))
    return Tree(sorted(_expand(os.fspath(root), nodes, keys, circles)), names)


def stamp(path: str | Path) -> tuple[int, int]:
    """Return the stamp of a folder; see `Folder`."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ino


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or a leftover of macOS."""
    return name.startswith(".") or name == "__MACOSX"


def _read_nodes(root: str) -> tuple[dict[Key, _Node], dict[str, Key]]:
    """Return all distinct folders, and the key of each path that was found to one.

    A folder that has a name without links in it is read by that name.
    """
    nodes: dict[Key, _Node] = {}
    keys: dict[str, Key] = {}
    waiting: list[str] = [root]
    links: list[str] = []
    while waiting or links:
        path = (waiting or links).pop()
        status = os.stat(path)
        key = keys[path] = status.st_dev, status.st_ino
        if key not in nodes:
            node = nodes[key] = _Node(path, (status.st_mtime_ns, status.st_ino), *read_folder(path))
            waiting += [os.path.join(path, _local(name)) for name in node.subfolders]
            links += [os.path.join(path, _local(name)) for name in node.links]
    return nodes, keys


def read_folder(path: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the sorted files, then the links to folders, the folders, and what is neither."""
    files, links, subfolders, others = [], [], [], []
    with os.scandir(path) as entries:
        for entry in entries:
            name = os.fsencode(entry.name).decode("utf-8", "surrogateescape")
            kind = _kind(entry)
            if kind == stat.S_IFREG:
                files.append(name)
            elif is_hidden(name):
                continue
            elif kind != stat.S_IFDIR or (entry.is_symlink() and _leads_back(entry.path)):
                others.append(name)
            else:
                (links if entry.is_symlink() else subfolders).append(name)
    return sorted(files), links, subfolders, others


def _kind(entry: os.DirEntry[str]) -> int:
    """Return S_IFREG, S_IFDIR, or 0 for what is neither; a link to nothing counts as a file."""
    try:
        if entry.is_file():
            return stat.S_IFREG
        if entry.is_dir():
            return stat.S_IFDIR
        if entry.is_symlink():
            os.stat(entry.path)
    except FileNotFoundError:
        return stat.S_IFREG
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link that leads to itself
            raise
    return 0


def _leads_back(link: str) -> bool:
    """Return whether a link points to a folder that contains it."""
    here = os.path.realpath(os.path.dirname(link)) + os.sep
    return here.startswith(os.path.join(os.path.realpath(link), ""))


def _circles(nodes: Mapping[Key, _Node], keys: Mapping[str, Key]) -> Iterator[str]:
    """Yield the paths of links from whose target the link's own folder can be reached."""
    for key, node in nodes.items():
        for name in node.links:
            link = os.path.join(node.path, _local(name))
            if key in _reachable(keys[link], nodes, keys):
                yield link


def _reachable(start: Key, nodes: Mapping[Key, _Node], keys: Mapping[str, Key]) -> set[Key]:
    found, waiting = {start}, [start]
    while waiting:
        node = nodes[waiting.pop()]
        below = {keys[os.path.join(node.path, _local(n))] for n in node.subfolders + node.links}
        waiting += below - found
        found |= below
    return found


def _expand(
    root: str, nodes: Mapping[Key, _Node], keys: Mapping[str, Key], circles: set[str]
) -> Iterator[Folder]:
    """Yield every folder by every name that leads to it, links in circles excepted."""
    waiting = [("", keys[root])]
    while waiting:
        name, key = waiting.pop()
        node = nodes[key]
        yield Folder(name, node.files, node.stamp)
        for child in node.subfolders + node.links:
            path = os.path.join(node.path, _local(child))
            if path not in circles:
                waiting.append((f"{name}/{child}" if name else child, keys[path]))


def _relative(path: str, root: Path) -> str:
    below = os.path.relpath(path, root).replace(os.sep, "/")
    return os.fsencode(below).decode("utf-8", "surrogateescape")


def _local(name: str) -> str:
    """Return a listed name as the operating system's functions take it."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))
