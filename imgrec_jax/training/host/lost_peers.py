"""Exit at once, with one line, when another process of the run is lost."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import jax

from imgrec_jax.core.errors import UserError
from imgrec_jax.training.host.signals import Interrupted


@contextmanager
def lost_peers() -> Iterator[None]:
    """Exit at once if this process fails among others, with one line if another one is lost.

    No cleanup is possible then: a normal exit would wait minutes for the others, which wait for
    this one in the middle of a step.
    """
    if jax.process_count() == 1:
        yield
        return
    _print_line_on_abort()
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        cause = error.__cause__ or error  # a save that waited for the lost one appears unwritten
        if isinstance(cause, jax.errors.JaxRuntimeError):
            _leave_lost(str(cause).strip().partition("\n")[0][:200])
        if isinstance(error, UserError):
            _leave(f": {error}", error.exit_status)
        traceback.print_exc()
        _leave(" failed", 1)


def _print_line_on_abort() -> None:
    """Print our line last if XLA detects a lost process first and aborts this one.

    XLA aborts from its own C thread, where Python's signal handlers never run.
    """
    ctypes.CDLL(None).signal(signal.SIGABRT, _on_abort)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _on_abort(_: int) -> None:
    _leave_lost("see XLA's message above")


def _leave_lost(why: str) -> NoReturn:
    _leave(
        f" lost another process ({why}); "
        "try the same command in all: the run resumes from its last checkpoint",
        1,
    )


def _leave(what: str, status: int) -> NoReturn:
    line = f"imgrec_jax: process {jax.process_index()} of {jax.process_count()}{what}"
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
