"""Coordinate the processes of a run: first process, barrier, shared flags."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_process() -> bool:
    """Return whether this process is the one that prints and writes reports."""
    return jax.process_index() == 0


def meet(what: str) -> None:
    """Wait until all processes have reached this point."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_process(flag: bool) -> bool:
    """Return whether the flag is set in any process; all must call it, and wait for each other."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())
