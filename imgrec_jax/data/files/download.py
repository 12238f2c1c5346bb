"""Download one file over HTTP with resume, checksum and short timeouts."""

import hashlib
import http.client
import os
import queue
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from imgrec_jax.core.errors import UserError

_CHUNK = 1 << 18
_ATTEMPTS = 10  # another attempt follows only if the last one received bytes


class _StoppedError(Exception):
    """The transfer ended early; the message gives the reason as part of a sentence."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    connect_seconds: float = 9.0,
    stall_seconds: float = 5.0,
) -> Path:
    """Download `url` to `target`, unless the file exists already, and return `target`.

    Received bytes are kept in `target.part`; the next attempt, in this call or a later one,
    requests only the rest. The proxy variables (`https_proxy`, `no_proxy`, ...) are honoured.
    `target` appears complete and verified, or not at all.

    Args:
        url: address of the file; redirects are followed.
        target: path of the file; its folder is created.
        sha256: the expected checksum, in hexadecimal.
        connect_seconds: timeout for a response: name lookup, connection and headers together.
        stall_seconds: timeout for a stalled transfer. With the defaults, a download that is
            impossible from the start fails within 15 s.

    Raises:
        UserError: no connection, a refusal, a stalled transfer, a full disk, a wrong checksum.
    """
    if target.is_file() and _checksum(target) == sha256:
        return target
    part = target.with_name(target.name + ".part")
    _make_folder(target.parent)
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        try:
            _fetch(url, part, connect_seconds, stall_seconds)
            break
        except (_StoppedError, OSError, ValueError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS or _size(part) <= before:
                raise _impossible(url, target, error) from error
    found = _checksum(part)
    if found != sha256:
        size = _size(part)
        part.unlink()
        raise UserError(
            f"expected sha256 {sha256} from {url}, got {found} ({size:,} bytes, removed); "
            "try again, or another address"
        )
    os.replace(part, target)
    return target


def _fetch(url: str, part: Path, connect_seconds: float, stall_seconds: float) -> None:
    """Append the missing bytes to `part`, or rewrite it if the server sends only the whole file."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "imgrec_jax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = _open(request, connect_seconds, stall_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is missing; the checksum decides if it is right
            return
        raise
    with response:
        if response.status != 206:
            have = 0
        rest = response.headers.get("Content-Length")
        total = have + int(rest) if rest else None
        _check_space(part.parent, (total or have) - have)
        _append(response, part, have, total)
    if total is not None and _size(part) != total:
        raise _StoppedError(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _append(response: Any, part: Path, have: int, total: int | None) -> None:
    from tqdm import tqdm

    bar = tqdm(
        desc=part.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None
    )  # `None`: silent if standard error is not a terminal
    with part.open("ab" if have else "wb") as file, bar:
        while chunk := response.read1(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _open(request: urllib.request.Request, connect_seconds: float, stall_seconds: float) -> Any:
    """Open the URL within `connect_seconds` in total.

    This uses a thread, because a name lookup has no timeout and each address of a name has a
    timeout of its own.
    """
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    abandoned = threading.Event()

    def connect() -> None:
        try:
            opener = urllib.request.build_opener()  # reads the current proxy variables
            response = opener.open(request, timeout=stall_seconds)
            if abandoned.is_set():
                response.close()
            answer.put(response)
        except Exception as error:
            answer.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        result = answer.get(timeout=connect_seconds)
    except queue.Empty:
        abandoned.set()
        raise _StoppedError(f"no answer within {connect_seconds:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"expected to write into {folder}, got {error.strerror}; try another folder"
        ) from error


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"expected {needed / 2**20:.0f} MiB free in {folder} for the download, "
            f"got {free / 2**20:.0f} MiB; try another folder"
        )


def _impossible(url: str, target: Path, error: Exception) -> UserError:
    reason = getattr(error, "reason", None) or error  # URLError wraps the cause
    if isinstance(error, urllib.error.HTTPError):
        reason = f"HTTP {error.code} {error.msg}"
    elif isinstance(reason, TimeoutError):
        reason = "no byte for too long"
    return UserError(
        f"expected to download {url}, got: {reason}; try again (the download resumes), "
        f"or put the file at {target} yourself"
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
