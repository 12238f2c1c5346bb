"""Select the devices of a run from those available."""

import jax

from imgrec_jax.core.errors import UsageError


def select_devices(requested: str) -> list[jax.Device]:
    """Return the selected devices of all processes.

    Args:
        requested: "" (all), a number such as "2" (the first two of each process), or a list such as
            "0,3" (those of each process, by the system's numbers).

    Raises:
        UsageError: it is none of these, or names a missing device.
    """
    if not requested:
        return jax.devices()
    parts = [part.strip() for part in requested.strip("[]() ").split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"expected parallel.devices as a number or a list, got '{requested}'; "
            "try --config.parallel.devices=2 or --config.parallel.devices=0,3"
        )
    numbers = [int(part) for part in parts]
    by_process: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    listed = "," in requested or "[" in requested
    chosen: list[jax.Device] = []
    for devices in by_process.values():
        known = {device.local_hardware_id: device for device in devices}
        names = numbers if listed else sorted(known)[: numbers[0]]
        if not set(names) <= set(known) or (not listed and not 0 < numbers[0] <= len(known)):
            raise UsageError(
                f"expected parallel.devices among the {len(known)} devices here "
                f"({', '.join(map(str, sorted(known)))}), got '{requested}'; try fewer"
            )
        chosen += [known[name] for name in dict.fromkeys(names)]
    return chosen
