"""Let the signals that stop a command wait. It runs first in a process, and so imports little."""

import signal
import sys

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CAN_WAIT = sys.platform != "win32"


def block_stop_signals() -> set[int]:
    """Let them wait in this thread and in what it starts; return the signals that waited before."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)) if _CAN_WAIT else set()


def restore_signals(waiting: set[int]) -> None:
    """Let these signals wait, and no others."""
    if _CAN_WAIT:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


def unblock_stop_signals() -> None:
    """Deliver them, those that wait first."""
    if _CAN_WAIT:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
