"""Provenance of a result: versions, code, command, machine."""

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("imgrec_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def provenance(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance for a result file."""
    commit, dirty = _git()
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "config_sha256": config_digest(config),
        "git_commit": commit,
        "git_dirty": dirty,
        "command": shlex.join(sys.orig_argv),
        "machine": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def config_digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def peak_memory_bytes() -> int:
    """Return the peak resident size of this process so far; 0 if unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _git() -> tuple[str, bool]:
    """Return the commit of the code and whether files differ; ("", False) outside a clone."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return "", False
    try:
        commit = _run_git(folder, "rev-parse", "HEAD")
        return commit, bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return "", False


def _run_git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
