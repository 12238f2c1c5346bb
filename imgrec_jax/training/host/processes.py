"""Coordinate the processes of a run: first process, barrier, shared flags."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_process() -> bool:
    """Tell whether this process is the one that speaks and writes reports."""
    return jax.process_index() == 0


def meet(what: str) -> None:
    """Wait until all processes have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_process(flag: bool) -> bool:
    """Return whether the flag is up in any process; all must ask, and wait for each other."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())
