"""Setup before JAX starts, for the verbs that use a trained network."""

import os

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.huge_pages import restart_with_huge_pages


def start_jax(device: str) -> None:
    """Start JAX on a kind of device ("" for JAX's choice) so that a training can run alongside.

    An accelerator's memory is allocated on demand, whereas XLA would by default reserve most of it
    at once. A user's setting of XLA_PYTHON_CLIENT_PREALLOCATE has precedence.

    Raises:
        UsageError: this machine has no such device.
    """
    restart_with_huge_pages()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    from imgrec_jax.training.host import host

    host.keep_compiled_programs()
    if not device:
        return
    jax.config.update("jax_platforms", device)
    try:
        jax.devices()
    except RuntimeError as error:
        raise UsageError(f"expected a {device} here, got none; try --device=cpu") from error
