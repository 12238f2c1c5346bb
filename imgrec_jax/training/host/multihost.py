"""Connect the processes of a multi-process run."""

import os
import re
from typing import Any

import jax

from imgrec_jax.core.errors import UsageError, UserError

_HEARTBEAT_SECONDS = 30  # a process without a heartbeat for so long counts as dead
_START_SECONDS = 300  # schedulers start processes one after the other
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_SETTINGS: Any = jax.config  # its attributes are known only at run time


def join(where: str) -> None:
    """Join the processes of the run; call before JAX's first use.

    Args:
        where: "off" (this process alone), "auto" (detected from SLURM, Open MPI, Kubernetes or
            Cloud TPU) or "HOST:PORT,ID/COUNT": address of process 0, own id, number of processes.

    Raises:
        UsageError: it is none of these, or no cluster is detected.
        UserError: the other processes did not connect.
    """
    if where == "off":
        return
    arguments = {} if where == "auto" else _parse(where)
    # We handle SIGTERM: the run saves, in all processes at the same step.
    _SETTINGS.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **arguments,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            initialization_timeout=_START_SECONDS,
        )
    except ValueError as error:  # nothing detected
        raise UsageError(
            f"expected a cluster that lists its processes, got none ({_first_line(error)}); "
            "try --config.parallel.multihost=HOST:PORT,ID/COUNT"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"expected to join the other processes at {arguments.get('coordinator_address', where)}"
            f", got '{_first_line(error)}'; try to start them all, with the same HOST:PORT"
        ) from error


def joined() -> bool:
    """Return whether this process is one of several."""
    return jax.distributed.is_initialized()


def _parse(where: str) -> dict[str, Any]:
    found = re.fullmatch(r"(.+):(\d+),(\d+)/(\d+)", where)
    if found is None or int(found[3]) >= int(found[4]):
        raise UsageError(
            "expected parallel.multihost to be off, auto or HOST:PORT,ID/COUNT with ID below "
            f"COUNT, got '{where}'; try --config.parallel.multihost=127.0.0.1:29500,0/2"
        )
    address = f"{found[1]}:{found[2]}"
    # gRPC would connect to the coordinator through a web proxy, and the process would exit.
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
