"""Collect what C decoders print on stderr, which is all they report about damaged data.

libjpeg fills what is missing in a damaged file with grey and prints a warning; OpenCV passes no
warning on. So C's `stderr` points to a stream of ours while an image is decoded. Its lines are
collected by thread; those of other threads pass through to the terminal. File descriptor 2, which
Python writes to, stays as it is.

This needs glibc. Elsewhich does not exist collected, and the decoders print.
"""

import contextlib
import ctypes
import functools
import os
import platform
import threading

_UNBUFFERED = 2  # _IONBF of stdio.h
_WRITE = ctypes.CFUNCTYPE(  # of cookie_io_functions_t: cookie, data, size -> size
    ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)


class _Functions(ctypes.Structure):
    _fields_ = [
        ("read", ctypes.c_void_p),
        ("write", _WRITE),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    ]


_collecting: dict[int, list[str]] = {}  # by thread


class collected:  # noqa: N801  # used like a function; a generator would take twice the time
    """A context that yields the list of what this thread prints on C's stderr in it."""

    __slots__ = ("_outer", "_stream", "_thread")

    def __enter__(self) -> list[str]:
        messages: list[str] = []
        self._stream = _stream()
        if self._stream is not None:
            self._thread = threading.get_ident()
            self._outer = _collecting.get(self._thread)
            _collecting[self._thread] = messages
            self._stream.use()
        return messages

    def __exit__(self, *error: object) -> None:
        if self._stream is None:
            return
        self._stream.restore()
        if self._outer is None:
            del _collecting[self._thread]
        else:
            _collecting[self._thread] = self._outer


class _Stream:
    """C's stderr, which points to our stream while any thread uses it."""

    def __init__(self, stderr: ctypes.c_void_p, ours: int) -> None:
        self._stderr, self._ours, self._original = stderr, ours, stderr.value
        self._users = 0
        self._lock = threading.Lock()

    def use(self) -> None:
        with self._lock:
            self._stderr.value = self._ours
            self._users += 1

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._stderr.value = self._original


@functools.cache
def _stream() -> _Stream | None:
    """Return the stream, which lives as long as the process; None without glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    library.fopencookie.restype = ctypes.c_void_p
    library.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
    library.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
    ours = library.fopencookie(None, b"w", _Functions(None, _write, None, None))
    if not ours or library.setvbuf(ours, None, _UNBUFFERED, 0):
        return None
    return _Stream(ctypes.c_void_p.in_dll(library, "stderr"), ours)


@_WRITE
def _write(cookie: int, data: int, size: int) -> int:
    """Take what a thread prints: to its list, or to the terminal if it collects nothing."""
    del cookie
    printed = ctypes.string_at(data, size)
    messages = _collecting.get(threading.get_ident())
    if messages is None:
        with contextlib.suppress(OSError):
            os.write(2, printed)
    else:
        messages.append(printed.decode("utf-8", "replace"))
    return size
