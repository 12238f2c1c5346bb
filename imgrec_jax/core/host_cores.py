"""Count the CPU cores available to this process, and divide work over them."""

import math
import os
from pathlib import Path


def core_count(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores this process may use: its affinity, limited by a cgroup's CPU quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.floor(min(cores, _cgroup_quota(cgroup))))


def _cgroup_quota(cgroup: Path) -> float:
    """Return the CPU quota in cores (cgroup version 2, then 1), infinite if there is none."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        except OSError:
            return math.inf
    if quota in {"max", "-1"}:
        return math.inf
    return int(quota) / int(period)


def greatest_divisor(number: int, limit: int) -> int:
    """Return the greatest divisor of `number` that is no more than `limit`, and at least 1."""
    return next((k for k in range(min(number, limit), 1, -1) if number % k == 0), 1)
