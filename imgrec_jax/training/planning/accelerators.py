"""Table of accelerators for `--plan`: memory, peak operations and bandwidth of one device.

These are rounded figures published by the manufacturers; none was measured here.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from imgrec_jax.core.errors import UsageError, did_you_mean


class Device(NamedTuple):
    """One kind of device.

    Attributes:
        memory: bytes available to a program, at most.
        flops: peak operations per second (dense) by precision.
        bandwidth: bytes per second that a device sends to its neighbours within one machine or
            slice, in one direction, over all links.
        per_host: devices per machine.
    """

    memory: float
    flops: Mapping[str, float]
    bandwidth: float
    per_host: int


def _gpu(gigabytes: float, bfloat16: float, tf32: float, float32: float, link: float) -> Device:
    flops = {"bfloat16": bfloat16 * 1e12, "tf32": tf32 * 1e12, "float32": float32 * 1e12}
    return Device(gigabytes * 1e9, flops, link * 1e9, 8)


def _tpu(gigabytes: float, bfloat16: float, link: float, per_host: int) -> Device:
    # float32 products take six passes in bfloat16 (three if tf32 is requested).
    flops = {name: bfloat16 * 1e12 / n for name, n in (("bfloat16", 1), ("tf32", 3))}
    return Device(gigabytes * 1e9, {**flops, "float32": bfloat16 * 1e12 / 6}, link * 1e9, per_host)


DEVICES: Mapping[str, Device] = {
    "v100": _gpu(32, 125, 15.7, 15.7, 150),
    "a100": _gpu(80, 312, 156, 19.5, 300),
    "l4": _gpu(24, 121, 60, 30.3, 32),
    "rtx4090": _gpu(24, 165, 82.6, 82.6, 32),
    "h100": _gpu(80, 989, 494, 67, 450),
    "h200": _gpu(141, 989, 494, 67, 450),
    "b200": _gpu(180, 2250, 1125, 75, 900),
    "v4": _tpu(32, 275, 150, 4),
    "v5e": _tpu(16, 197, 100, 4),
    "v5p": _tpu(95, 459, 300, 4),
    "v6e": _tpu(32, 918, 224, 4),
}
_MOST_DEVICES = 1024  # a plan compiles the step for as many devices of the CPU
_NAMED_BY_CORES = frozenset({"v4", "v5p"})  # v4-64 is 32 chips of two cores, one device each


def parse_devices(text: str) -> tuple[str, int]:
    """Return kind and number of devices for a text such as `8xh100` or `v5e-64`.

    TPU slices have the names of Google Cloud: v4 and v5p count cores, others count chips.

    Raises:
        UsageError: unknown device, or no number of 1 to 1,024.
    """
    gpu, tpu = re.fullmatch(r"(\d+)x(\w+)", text), re.fullmatch(r"(v\w+)-(\d+)", text)
    kind, number = (gpu[2], gpu[1]) if gpu else (tpu[1], tpu[2]) if tpu else (text, "0")
    if kind not in DEVICES or len(number) > 9 or not 1 <= int(number) <= _MOST_DEVICES:
        raise UsageError(
            f"expected --plan as 8xh100 or v5e-64, up to {_MOST_DEVICES:,} devices, got '{text}'"
            f"{did_you_mean(kind, DEVICES)}; try one of {', '.join(DEVICES)}"
        )
    return kind, max(1, int(number) // (2 if kind in _NAMED_BY_CORES else 1))
