"""Stop on request: Ctrl-C, or the SIGTERM that clusters send before they reclaim a machine."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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
    requested = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        del frame
        if requested:
            # Harmless: files are renamed into place, and a truncated line of the log is dropped.
            os._exit(128 + number)
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
