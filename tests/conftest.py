"""Shared by all tests: 8 host devices, strict promotion, and data made on the spot."""

import os
import signal
import tempfile
from pathlib import Path

# Started in the background, as CI may do it, a shell has the tests ignore Ctrl-C, and all that
# they start as well: those that press it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers and the processes that tests start share what has been compiled.
_SESSION = tempfile.mkdtemp(prefix="imgrec_jax_tests_")
os.environ.setdefault("IMGREC_JAX_CACHE", _SESSION)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{_SESSION}/compiled")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# Most of the suite's time would be XLA's optimisation; `make core-test` leaves it on.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

# Shapes and types of their signatures are checked while the tests run, and only then.
install_import_hook(["imgrec_jax.models", "imgrec_jax.ops"], "beartype.beartype")

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# The first example of a function waits for its compilation, on a busy machine for long.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real image sets; tests that use it are marked `shared_data`."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real image sets in {SHARED_DATA}, which are not here")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    """Each test has a cache of its own, so that none sees another's images."""
    monkeypatch.setenv("IMGREC_JAX_CACHE", str(tmp_path / "imgrec_jax_cache"))


@pytest.fixture(autouse=True)
def strict_promotion(request):
    """Types never widen by themselves in our own mathematics; optax's Adam relies on it."""
    folders = {"augment", "models", "ops", "tasks"}
    strict = not folders.isdisjoint(request.path.parts)
    with jax.numpy_dtype_promotion("strict" if strict else "standard"):
        yield
