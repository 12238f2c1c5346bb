"""`train --plan=8xh100`: estimate the memory and time of a run without training."""

import os
from typing import Any

from imgrec_jax.core.text_table import table
from imgrec_jax.training.planning.accelerators import DEVICES, parse_devices
from imgrec_jax.training.planning.utilisation import utilisation

_MOST_ROWS = 40  # of the table of parameters
_PUBLISHED = {
    "cifar10": "50000,32x32x3,10",
    "cifar100": "50000,32x32x3,100",
    "imagenet": "1281167,{side}x{side}x3,1000",
    "mnist": "60000,28x28x1,10",
}
"""Training images, shape and classes of data sets that need not be on the machine."""


def print_plan(config: Any, text: str) -> int:
    """Print the estimated cost of a config on the named devices; return the exit status."""
    kind, count = parse_devices(text)
    import jax  # on the CPU, with as many devices as in the plan

    settings: Any = jax.config
    settings.update("jax_platforms", "cpu")
    settings.update("jax_num_cpu_devices", count)
    stand_in = published_size(config)
    with config.unlocked():
        config.ops = "plain"  # implementations for CPUs differ from those of the device
        config.data.source = stand_in or config.data.source

    from imgrec_jax.build.experiment import build_experiment
    from imgrec_jax.training.planning.plan import make_plan, parameter_table

    if stand_in:
        print(f"the data is not on this machine; planned for its published size, {stand_in}\n")
    experiment = build_experiment(config)
    plan = make_plan(experiment, kind, config.precision, utilisation(config.model.name)[1])
    parameters = parameter_table(experiment)
    rows = _rows(config, plan, experiment, sum(size for _, _, size, _ in parameters))
    for name, value in rows.items():
        print(f"{name:>11}  {value}")
    if plan.memory_share > 1:
        print("WARNING: does not fit: try more micro_batches, parallel.fsdp, or more devices")
    print("\nparameters, and the part of each on a device")
    shown = [[path, shape, f"{size:,}", cut] for path, shape, size, cut in parameters[:_MOST_ROWS]]
    print("\n".join(f"  {line}" for line in table(shown, "<>><")))
    if len(parameters) > _MOST_ROWS:
        print(f"  ... and {len(parameters) - _MOST_ROWS} more")
    return 0


def published_size(config: Any) -> str:
    """Return a synthetic source of the size of a known data set that is not here; else ""."""
    kind, _, where = config.data.source.partition(":")
    if kind not in _PUBLISHED or (where and os.path.exists(os.path.expanduser(where))):
        return ""
    return "synthetic:" + _PUBLISHED[kind].format(side=config.data.image_size or 224)


def _rows(config: Any, plan: Any, experiment: Any, parameters: int) -> dict[str, str]:
    """Return the figures of a plan by name, those that decide first."""
    from imgrec_jax.training.planning.plan import decoding_cores

    device, mesh = DEVICES[plan.kind], experiment.parallel.mesh.shape
    hosts = -(-plan.devices // device.per_host)
    family, part = utilisation(config.model.name)
    images = experiment.train(0).get("image")
    image_bytes = 0 if images is None else images.nbytes // plan.batch_size
    cores = decoding_cores(plan, image_bytes, cropped=bool(config.data.crop))
    return {
        "devices": f"{plan.devices} x {plan.kind}, {hosts} host{'s' * (hosts > 1)} of "
        f"{device.per_host}; mode {experiment.parallel.mode}, data {mesh['data']} x fsdp "
        f"{mesh['fsdp']}",
        "speed": f"{plan.images_per_second:,.0f} images/s",
        "time": f"{_time(plan.minutes)}, without start, evaluation and waiting for data",
        "decoding": _decoding(cores),
        "parameters": f"{parameters:,}",
        "state": f"{_bytes(plan.state_bytes)} on each device (exact)",
        "batch": f"{config.batch_size // plan.devices} examples, {_bytes(plan.batch_bytes)} on "
        "each device (exact)",
        "activations": f"{_bytes(plan.temporary_bytes)} on each device (estimate: XLA's plan "
        "for CPU devices)",
        "memory": f"{plan.memory_share:.1%} of {_bytes(device.memory)}",
        "operations": f"{plan.step_flops / 1e9:,.1f} GFLOP a step (XLA's count)",
        "step": f"{1e3 * plan.compute_seconds:,.2f} ms at {part:.0%} (assumed of {family}) of the "
        f"peak of {device.flops[config.precision] / 1e12:,.0f} TFLOP/s ({config.precision})",
        "gradients": f"{_bytes(plan.reduced_bytes)} to add up, {1e3 * plan.reduce_seconds:,.2f} ms "
        f"at {device.bandwidth / 1e9:,.0f} GB/s, within a machine or slice",
        "steps": f"{plan.steps:,} ({plan.steps_per_epoch:,} an epoch)",
    }


def _decoding(cores: int) -> str:
    from imgrec_jax.training.planning.plan import DECODED_PER_CORE

    if not cores:
        return "the decoded images stay in memory"
    rate = f"{DECODED_PER_CORE:,} images/s on each (JPEG of 500x375 to 224x224)"
    return f"{cores:,} CPU core{'s' * (cores > 1)}, at {rate}"


def _time(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:,.1f} s"
    hours = f" ({minutes / 60:,.1f} h)" if minutes >= 60 else ""
    return f"{minutes:,.1f} minutes{hours}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
