"""`train --plan=8xh100`: estimate the memory and time of a run without training."""

from typing import Any

from imgrec_jax.training.planning.accelerators import DEVICES, parse_devices

_MOST_ROWS = 40  # of the table of parameters


def print_plan(config: Any, text: str) -> int:
    """Print the estimated cost of a config on the named devices; return the exit status."""
    kind, count = parse_devices(text)
    import jax  # on the CPU, with as many devices as in the plan

    settings: Any = jax.config
    settings.update("jax_platforms", "cpu")
    settings.update("jax_num_cpu_devices", count)
    with config.unlocked():
        config.ops = "plain"  # implementations for CPUs differ from those of the device

    from imgrec_jax.build.experiment import build_experiment
    from imgrec_jax.training.planning.plan import UTILISATION, make_plan, parameter_table

    experiment = build_experiment(config)
    plan = make_plan(experiment, kind, config.precision)
    device, mesh = DEVICES[kind], experiment.parallel.mesh.shape
    table = parameter_table(experiment)
    print("parameters")
    for path, shape, size, cut in table[:_MOST_ROWS]:
        print(f"  {path:<44} {shape:>16} {size:>13,}  {cut}")
    if len(table) > _MOST_ROWS:
        print(f"  ... and {len(table) - _MOST_ROWS} more")
    total = sum(size for _, _, size, _ in table)
    hosts = -(-count // device.per_host)
    rows = {
        "devices": f"{count} x {kind}, {hosts} host{'s' * (hosts > 1)} of {device.per_host}; mode "
        f"{experiment.parallel.mode}, data {mesh['data']} x fsdp {mesh['fsdp']}",
        "parameters": f"{total:,}",
        "state": f"{_bytes(plan.state_bytes)} on each device (exact)",
        "batch": f"{config.batch_size // count} examples, {_bytes(plan.batch_bytes)} on each "
        "device (exact)",
        "activations": f"{_bytes(plan.temporary_bytes)} on each device (estimate: XLA's plan "
        "for CPU devices)",
        "memory": f"{plan.memory_share:.1%} of {_bytes(device.memory)}",
        "operations": f"{plan.step_flops / 1e9:,.1f} GFLOP a step (XLA's count)",
        "step": f"{1e3 * plan.compute_seconds:,.2f} ms at {UTILISATION:.0%} of the peak of "
        f"{device.flops[config.precision] / 1e12:,.0f} TFLOP/s ({config.precision})",
        "gradients": f"{_bytes(plan.reduced_bytes)} to add up, {1e3 * plan.reduce_seconds:,.2f} ms "
        f"at {device.bandwidth / 1e9:,.0f} GB/s, within a machine or slice",
        "steps": f"{plan.steps:,} ({plan.steps_per_epoch:,} an epoch)",
        "time": f"{_time(plan.hours)}, without start, evaluation and waiting for data",
    }
    for name, value in rows.items():
        print(f"{name:>11}  {value}")
    if plan.memory_share > 1:
        print("WARNING: does not fit: try more micro_batches, parallel.fsdp, or more devices")
    return 0


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{3600 * hours:,.1f} s"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
