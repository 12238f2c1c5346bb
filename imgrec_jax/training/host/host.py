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

_SETTINGS: Any = jax.config  # its attributes are known only at run time
_LEAST_EXAMPLES = 16  # per device and batch; with fewer, splitting costs more than it saves
# Compile seconds; JAX has 1. Prediction with the ConvNet compiles in 0.7 s, a third of startup.
_WORTH_KEEPING = 0.2


def make_cpu_devices(requested: str, batch_size: int) -> None:
    """Make JAX use one CPU device per core; call before JAX's first use.

    XLA runs many fusions of a program on a single thread; data-parallel devices use all cores.
    This does nothing if XLA_FLAGS or jax_num_cpu_devices already sets a number, or if JAX has
    already started.

    Args:
        requested: "auto" (cores, with at least 16 examples of the batch on each and a number
            that divides the batch) or a number.
        batch_size: examples that the devices share: those of a micro-batch of the global batch.

    Raises:
        UsageError: `requested` is neither "auto" nor a number from 1 to the batch size.
    """
    if requested != "auto" and not (requested.isdecimal() and int(requested) > 0):
        raise UsageError(
            "expected parallel.cpu_devices to be 'auto' or a number of 1 or more, "
            f"got '{requested}'; try --config.parallel.cpu_devices=auto"
        )
    is_set = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if is_set or _SETTINGS.jax_num_cpu_devices > 0:
        return
    count = automatic_devices(core_count(), batch_size) if requested == "auto" else int(requested)
    if count > batch_size:
        raise UsageError(
            f"expected parallel.cpu_devices of {batch_size} at most, the examples of a batch, "
            f"got {count}; try --config.parallel.cpu_devices=auto"
        )
    with contextlib.suppress(RuntimeError):  # JAX has started and rejects another number
        _SETTINGS.update("jax_num_cpu_devices", count)


def hide_other_devices(requested: str) -> None:
    """Hide from JAX the GPUs that `parallel.devices` does not select.

    JAX would reserve memory on all visible GPUs.
    """
    numbers = requested.strip("[]() ")
    if requested and numbers == requested and numbers.isdecimal():
        numbers = ",".join(map(str, range(int(numbers))))
    for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
        if requested:
            _SETTINGS.update(name, numbers)


def keep_compiled_programs() -> None:
    """Make JAX cache compiled programs in the user's cache folder, to shorten the next start.

    JAX_COMPILATION_CACHE_DIR selects another folder; JAX_ENABLE_COMPILATION_CACHE=false disables
    the cache.
    """
    if _SETTINGS.jax_compilation_cache_dir is None:
        # Without a writable home folder there is no cache.
        with contextlib.suppress(RuntimeError, OSError):
            folder = cache_dir() / "compiled"
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                _SETTINGS.update("jax_compilation_cache_dir", str(folder))
                if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
                    _SETTINGS.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)


def automatic_devices(cores: int, batch_size: int) -> int:
    """Return the largest number up to `cores` that divides the batch into parts of 16 or more."""
    most = max(1, min(cores, batch_size // _LEAST_EXAMPLES))
    return greatest_divisor(batch_size, most)


def idle_accelerator_warning() -> str:
    """Return a warning if JAX runs on the CPU despite an accelerator, otherwise ""."""
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
