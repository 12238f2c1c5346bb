"""Host setup before JAX starts. Only `main` calls it."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jax

from imgrec_jax.core.cache_folder import cache_dir
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.host_cores import core_count, greatest_divisor

_SETTINGS: Any = jax.config  # its attributes are known at run time only
_LEAST_EXAMPLES = 16  # of a batch on each device; with fewer, splitting costs more than it gives
# Seconds of compiling; JAX has 1. What predicts with the ConvNet takes 0.7, a third of a start.
_WORTH_KEEPING = 0.2


def make_cpu_devices(wanted: str, batch_size: int) -> None:
    """Let JAX see one CPU device per core, before its first use.

    XLA runs many fusions of a program on a single thread; data-parallel devices keep all cores
    busy. Nothing happens where XLA_FLAGS or jax_num_cpu_devices already says a number, or JAX
    has started already.

    Args:
        wanted: "auto" (cores, with at least 16 examples of the batch on each and a number
            that divides the batch) or a number.
        batch_size: examples that devices share at once: of a micro-batch of the global batch.

    Raises:
        UsageError: `wanted` is neither "auto" nor a number from 1 to the batch size.
    """
    if wanted != "auto" and not (wanted.isdecimal() and int(wanted) > 0):
        raise UsageError(
            f"expected parallel.cpu_devices to be 'auto' or a number of 1 or more, got '{wanted}'; "
            "try --config.parallel.cpu_devices=auto"
        )
    said = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or _SETTINGS.jax_num_cpu_devices > 0:
        return
    count = automatic_devices(core_count(), batch_size) if wanted == "auto" else int(wanted)
    if count > batch_size:
        raise UsageError(
            f"expected parallel.cpu_devices of {batch_size} at most, the examples of a batch, "
            f"got {count}; try --config.parallel.cpu_devices=auto"
        )
    with contextlib.suppress(RuntimeError):  # JAX has started, and refuses another number
        _SETTINGS.update("jax_num_cpu_devices", count)


def hide_other_devices(wanted: str) -> None:
    """Keep JAX away from the GPUs that `parallel.devices` leaves to others.

    JAX would reserve memory on all that it can see.
    """
    numbers = wanted.strip("[]() ")
    if wanted and numbers == wanted and numbers.isdecimal():
        numbers = ",".join(map(str, range(int(numbers))))
    for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
        if wanted:
            _SETTINGS.update(name, numbers)


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, so that the next start is short.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false turns it
    off.
    """
    if _SETTINGS.jax_compilation_cache_dir is None:
        # A user without a home, or without the right to write there, has no cache.
        with contextlib.suppress(RuntimeError, OSError):
            folder = cache_dir() / "compiled"
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                _SETTINGS.update("jax_compilation_cache_dir", str(folder))
                if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
                    _SETTINGS.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)


def automatic_devices(cores: int, batch_size: int) -> int:
    """Return the largest number up to `cores` that divides the batch into 16 or more each."""
    most = max(1, min(cores, batch_size // _LEAST_EXAMPLES))
    return greatest_divisor(batch_size, most)


def idle_accelerator_warning() -> str:
    """Return a line to print where JAX runs on the CPU beside an accelerator, else ""."""
    if jax.default_backend() != "cpu" or _SETTINGS.jax_platforms == "cpu":
        return ""
    if _nvidia_gpu():
        return "WARNING: an NVIDIA GPU is idle, JAX runs on the CPU: pip install 'jax[cuda13]'"
    if Path("/dev/accel0").exists():
        return "WARNING: a TPU is idle, JAX runs on the CPU: pip install 'jax[tpu]'"
    return ""


def _nvidia_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU" in listing.stdout
