"""What a training step costs by the size of its work: batch, pictures, width, and memory.

    python -m benchmarks.work [--rounds=5] [--plot=FILE.svg]

Seconds for a picture in training, against the first row of each table, with the bytes that the
compiled step needs beside its arguments. Then evaluation beside training, and a batch eight times
as large in eight micro-batches, with and without `remat`, beside one of the ordinary size. The
rows of a table take turns. Prints the tables and one JSON line.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from benchmarks.turns import environment, spread
from imgrec_jax import get_config
from imgrec_jax.build import build_experiment
from imgrec_jax.core.huge_pages import restart_with_huge_pages
from imgrec_jax.training import host
from imgrec_jax.training.parallel import EvalProgram

Row = tuple[Callable[[], float], float]
"""A function that returns the seconds for a picture, and megabytes of the compiled step."""

TABLES: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "batch size (ConvNet, 32x32)": {str(n): {"batch_size": n} for n in (1, 4, 16, 64, 256, 1024)},
    "picture size (ConvNet, batch 16)": {
        str(n): {"batch_size": 16, "size": n} for n in (32, 64, 128, 256)
    },
    "width (ConvNet, batch 64)": {
        str(n): {"model__convnet__width": n} for n in (8, 16, 32, 64, 128)
    },
    "memory (ResNet-18, width 16, 32x32)": {
        "batch 64": {"model__name": "resnet18"},
        "batch 512": {"model__name": "resnet18", "batch_size": 512},
        "batch 512 in 8 parts": {
            "model__name": "resnet18",
            "batch_size": 512,
            "micro_batches": 8,
        },
        "batch 512, remat": {
            "model__name": "resnet18",
            "batch_size": 512,
            "model__resnet18__remat": True,
        },
    },
}


def main() -> None:
    """Time all rows and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", default="", help="write the curves to this file")
    options = parser.parse_args()
    restart_with_huge_pages("benchmarks")  # as the command for training does
    host.keep_compiled_programs()
    host.make_cpu_devices("auto", 64)
    found: dict[str, Any] = {}
    for title, settings in TABLES.items():
        rows = {name: training(**changes) for name, changes in settings.items()}
        found[title] = measure(title, rows, options.rounds)
    title = "evaluation (ConvNet, batch 512) beside training (batch 64)"
    found[title] = measure(title, {"training": training(), "evaluation": scoring()}, options.rounds)
    if options.plot:
        plot(found, Path(options.plot))
    print(json.dumps({"benchmark": "work", "tables": found, **environment()}))


def measure(title: str, rows: Mapping[str, Row], rounds: int) -> dict[str, Any]:
    """Let the rows take turns; print and return microseconds for a picture, ratios, megabytes."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds):
        for name in list(rows)[:: -1 if number % 2 else 1]:
            seconds[name].append(rows[name][0]())
    first = next(iter(seconds.values()))
    print(f"\n{title:<44} {'us a picture':>12}  {'of the first row':<22} {'MB':>8}")
    table = {}
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, first, strict=True)]
        micro = 1e6 * statistics.median(taken)
        megabytes = rows[name][1]
        print(f"{name:<44} {micro:>12,.0f}  {spread(ratios):<22} {megabytes:>8,.1f}", flush=True)
        table[name] = {"microseconds": micro, "ratios": ratios, "megabytes": megabytes}
    return table


def training(*, size: int = 32, batch_size: int = 64, **changes: Any) -> Row:
    """Return the row of a training step, compiled."""
    source = f"synthetic:{4 * batch_size},{size}x{size}x3,10"
    if changes.get("model__name") == "resnet18":
        changes |= {"model__resnet18__stem": "cifar", "model__resnet18__width": 16}
    if batch_size % (len(jax.devices()) * changes.get("micro_batches", 1)):
        changes["parallel__devices"] = "1"
    changes |= {"batch_size": batch_size, "data__source": source}
    config = get_config("cifar10_reference", **changes)
    experiment = build_experiment(config)
    program = experiment.train_program()
    root = experiment.parallel.replicate(experiment.root_key)
    state, batch = experiment.init(), experiment.train(0)
    memory = program.lower(state, batch, root).compile().memory_analysis()
    steps = max(1, 256 // batch_size)

    def block() -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(steps):
            state, sums = program(state, batch, root)
            jax.block_until_ready(sums)
        jax.block_until_ready(state.params)
        return (time.perf_counter() - started) / (steps * batch_size)

    block()
    return block, memory.temp_size_in_bytes / 1e6 if memory else 0.0


def scoring() -> Row:
    """Return the row of one pass over 2,048 pictures."""
    config = get_config(
        "cifar10_reference", data__source="synthetic:20480,32x32x3,10", eval_batch_size=512
    )
    experiment = build_experiment(config)
    program = EvalProgram(experiment.task, experiment.parallel)
    state = experiment.init()
    batches = list(experiment.evaluations["test"]())

    def block() -> float:
        started = time.perf_counter()
        jax.block_until_ready([program(*state.weights(), batch)[0] for batch in batches])
        return (time.perf_counter() - started) / 2048

    block()
    return block, 0.0


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Write the curves of the first three tables, on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, title in zip(axes, list(found)[:3], strict=True):
        table = found[title]
        x = [int(name) for name in table]
        axis.loglog(x, [row["microseconds"] for row in table.values()], marker="o", label="µs")
        axis.loglog(x, [row["megabytes"] for row in table.values()], marker="s", label="MB")
        axis.set_xticks(x, [str(n) for n in x])
        axis.minorticks_off()
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("µs a picture; MB a step")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
