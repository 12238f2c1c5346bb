"""Connect the processes of a multi-process run."""

import os
import re
from typing import Any

import jax

from imgrec_jax.core.errors import UsageError, UserError

_HEARTBEAT_SECONDS = 30  # a process that is silent for so long is taken for dead
_START_SECONDS = 300  # schedulers start processes one after the other
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_SETTINGS: Any = jax.config  # its attributes are known at run time only


def join(where: str) -> None:
    """Join the processes of the run, before JAX's first use.

    Args:
        where: "off" (this process alone), "auto" (as SLURM, Open MPI, Kubernetes or a Cloud TPU
            tell) or "HOST:PORT,ID/COUNT": the address of process 0, and which of how many this is.

    Raises:
        UsageError: it is none of these, or no cluster tells anything.
        UserError: the other processes did not come.
    """
    if where == "off":
        return
    arguments = {} if where == "auto" else _parse(where)
    # SIGTERM is ours: the run saves, in all processes at the same step.
    _SETTINGS.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **arguments,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            initialization_timeout=_START_SECONDS,
        )
    except ValueError as error:  # nothing detected
        raise UsageError(
            f"expected a cluster that tells its processes, got none ({_first_line(error)}); "
            "try --config.parallel.multihost=HOST:PORT,ID/COUNT"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"expected to join the other processes at {arguments.get('coordinator_address', where)}"
            f", got '{_first_line(error)}'; try to start them all, with the same HOST:PORT"
        ) from error


def joined() -> bool:
    """Tell whether this process is one of several."""
    return jax.distributed.is_initialized()


def _parse(where: str) -> dict[str, Any]:
    found = re.fullmatch(r"(.+):(\d+),(\d+)/(\d+)", where)
    if found is None or int(found[3]) >= int(found[4]):
        raise UsageError(
            "expected parallel.multihost to be off, auto or HOST:PORT,ID/COUNT with ID below "
            f"COUNT, got '{where}'; try --config.parallel.multihost=127.0.0.1:29500,0/2"
        )
    address = f"{found[1]}:{found[2]}"
    # A proxy for the web would be asked for the way to the coordinator, and end the process.
    os.environ.setdefault("no_grpc_proxy", found[1])
    arguments = {
        "coordinator_address": address,
        "num_processes": int(found[4]),
        "process_id": int(found[3]),
        "cluster_detection_method": "deactivate",  # or SLURM would leave each process one GPU
    }
    if found[1] in _LOOPBACK:  # JAX would listen on all interfaces
        arguments["coordinator_bind_address"] = address
    return arguments


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
