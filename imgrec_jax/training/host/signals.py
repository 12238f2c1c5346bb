"""Stop on request: Ctrl-C, or the SIGTERM that clusters send before they reclaim a machine."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from imgrec_jax.core.errors import STOPPED
from imgrec_jax.core.stop_signals import STOP_SIGNALS, unblock_stop_signals

STOPS_WITH_STDIN = "IMGREC_JAX_STOPS_WITH_STDIN"
"""Environment variable of a command that stops when its standard input ends."""

_LINE = "Stopped. The same command resumes what is saved, or starts again."
_FLUSH_SECONDS = 1.0  # a full pipe must not keep the process


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """A run was asked to stop and has saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM came; a second one exits at once.

    Outside the main thread no handler can be set, and the function always returns False.
    """
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number, frame
        if asked:
            # Harmless: files are renamed into place, and a truncated line of the log is dropped.
            _leave()
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield lambda: asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_command(main: Callable[[], int]) -> int:
    """Run a command that SIGINT or SIGTERM end at any moment, with one line and status 75.

    No exception is raised, which an import or a callback could swallow. A thread ends the process,
    because the main thread may wait for a compilation. Inside `stop_requests` and other handlers
    the thread does nothing. A command that has finished keeps its own status.
    """
    status: list[int] = []
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in STOP_SIGNALS:
        signal.signal(number, _seen_by_the_thread)
    threading.Thread(target=_leave_on_signals, args=(ours, status), daemon=True).start()
    unblock_stop_signals()
    if os.environ.get(STOPS_WITH_STDIN):
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    status.append(main())
    for number in STOP_SIGNALS:  # Python would restore the default, which kills while it exits
        signal.signal(number, signal.SIG_IGN)
    return status[0]


def _seen_by_the_thread(number: int, frame: FrameType | None) -> None:
    """Do nothing: the thread of `run_command` reads the number of the signal from its socket."""
    del number, frame


def _leave_on_signals(numbers: socket.socket, status: list[int]) -> None:
    while received := numbers.recv(1):
        if received[0] in STOP_SIGNALS and signal.getsignal(received[0]) is _seen_by_the_thread:
            _leave(*status)


def _stop_with_stdin() -> None:
    """Stop as on SIGTERM when standard input ends: the parent closes it, or has died."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(status: int | None = None) -> NoReturn:
    """Exit without cleanup, with one line unless the command has finished with a status."""
    flush = threading.Thread(target=sys.stdout.flush, daemon=True)
    flush.start()
    flush.join(_FLUSH_SECONDS)
    if status is None:
        os.write(2, f"\n{_LINE}\n".encode())
    os._exit(STOPPED if status is None else status)
