"""Lock of a workdir: one training at a time. The operating system releases it on exit."""

import contextlib
import datetime
import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from imgrec_jax.core.errors import UserError
from imgrec_jax.training.workdir.files import as_user_errors

_LOGGER = logging.getLogger(__name__)
_TAKEN = {errno.EAGAIN, errno.EACCES}


@contextlib.contextmanager
def workdir_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder.

    The file `.lock` names the holder. The lock itself is flock(2), which ends with the process in
    any case, so that a leftover file does not lock. On network file systems flock works between
    hosts. Where flock does not exist (Windows, some cluster file systems) there is no lock, and a
    warning is printed.

    Raises:
        UserError: another process holds it; the message names the process and its host.
    """
    path = folder / ".lock"
    with as_user_errors(path):
        file = path.open("a+", encoding="utf-8")
    with file:
        if not _take(file):
            raise UserError(
                f"expected a workdir that nothing trains in, got {folder}, where {_holder(file)} "
                "is training; try another --workdir, or wait until it is done"
            )
        with as_user_errors(path):
            _write(file, _me())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _write(file, "")
            _give_back(file)


def is_locked(folder: Path) -> bool:
    """Return whether a process trains in a run's folder; False if that cannot be determined."""
    try:
        with (folder / ".lock").open("r+", encoding="utf-8") as file:
            taken = not _take(file)
            if not taken:
                _give_back(file)
            return taken
    except OSError:  # no process has trained there
        return False


def _take(file: IO[str]) -> bool:
    """Return whether the lock is ours or locks are unavailable."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        return True
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        _LOGGER.warning(
            "no locks on the file system of %s (%s): nothing stops a second training there",
            file.name,
            error.strerror,
        )
    return True


def _give_back(file: IO[str]) -> None:
    """Unlock explicitly: forked worker processes share the open file."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)  # at the end, as the file is open for appending
    file.flush()


def _me() -> str:
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder: dict[str, Any] = json.loads(file.read())
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (ValueError, KeyError, TypeError):  # the holder has not written its name yet
        return "another process"
