"""What a training step costs by the size of its work: batch, images, width, and memory.

    python -m benchmarks.work [--rounds=5] [--tables=memory,evaluation] [--plot=FILE.svg]

Seconds for an image in training, against the first row of each table, with the bytes that the
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

from benchmarks.steps import Steps, made_up
from benchmarks.turns import environment, spread
from imgrec_jax.core.huge_pages import restart_with_huge_pages
from imgrec_jax.training.host import host
from imgrec_jax.training.step.compiled_steps import EvalProgram

Row = tuple[Callable[[], float], float]
"""A function that returns the seconds for an image, and megabytes of the compiled step."""

TABLES: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "batch size (ConvNet, 32x32)": {str(n): {"batch": n} for n in (1, 4, 16, 64, 256, 1024)},
    "image size (ConvNet, batch 16)": {
        str(n): {"batch": 16, "size": n} for n in (32, 64, 128, 256)
    },
    "width (ConvNet, batch 64)": {
        str(n): {"model__convnet__width": n} for n in (8, 16, 32, 64, 128)
    },
    "memory (ResNet-18, width 16, 32x32)": {
        "batch 64": {"model": "resnet18"},
        "batch 512": {"model": "resnet18", "batch": 512},
        "batch 512 in 8 parts": {"model": "resnet18", "batch": 512, "micro_batches": 8},
        "batch 512, remat": {"model": "resnet18", "batch": 512, "model__resnet18__remat": True},
    },
}

EVALUATION = "evaluation beside training (ConvNet, batch 64)"


def main() -> None:
    """Time all rows and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", default="", help="only those that begin so; '': all")
    parser.add_argument("--plot", default="", help="write the curves to this file")
    options = parser.parse_args()
    restart_with_huge_pages("benchmarks")  # as the command for training does
    host.keep_compiled_programs()
    host.make_cpu_devices("auto", 64)
    found: dict[str, Any] = {}
    requested = tuple(options.tables.split(","))
    for title in [title for title in TABLES if title.startswith(requested)]:
        rows = {name: training(**changes) for name, changes in TABLES[title].items()}
        found[title] = measure(title, rows, options.rounds)
    if EVALUATION.startswith(requested):
        rows = {"training": training(), "evaluation": scoring()}
        found[EVALUATION] = measure(EVALUATION, rows, options.rounds)
    if options.plot:
        plot(found, Path(options.plot))
    print(json.dumps({"benchmark": "work", "tables": found, **environment()}))


def measure(title: str, rows: Mapping[str, Row], rounds: int) -> dict[str, Any]:
    """Let the rows take turns; print and return microseconds for an image, ratios, megabytes."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds):
        for name in list(rows)[:: -1 if number % 2 else 1]:
            seconds[name].append(rows[name][0]())
    first = next(iter(seconds.values()))
    print(f"\n{title:<44} {'us an image':>12}  {'of the first row':<22} {'MB':>8}")
    table = {}
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, first, strict=True)]
        micro = 1e6 * statistics.median(taken)
        megabytes = rows[name][1]
        print(f"{name:<44} {micro:>12,.0f}  {spread(ratios):<22} {megabytes:>8,.1f}", flush=True)
        table[name] = {"microseconds": micro, "ratios": ratios, "megabytes": megabytes}
    return table


def training(*, model: str = "convnet", batch: int = 64, **changes: Any) -> Row:
    """Return the row of a training step, compiled."""
    if model == "resnet18":
        changes["model__resnet18__width"] = 16
    if batch % (len(jax.devices()) * changes.get("micro_batches", 1)):
        changes["parallel__devices"] = "1"
    steps = Steps(made_up(model, batch, **changes))
    block = max(1, 256 // batch)
    steps.take(block)
    return lambda: steps.take(block) / batch, steps.megabytes()


def scoring() -> Row:
    """Return the row of one pass over 2,048 images."""
    source = "synthetic:20480,32x32x3,10"
    experiment = made_up("convnet", 64, data__source=source, eval_batch_size=64)
    program = EvalProgram(experiment.task, experiment.parallel)
    state = experiment.init()
    batches = list(experiment.data.passes["test"]())

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
    axes[0].set_ylabel("µs an image; MB a step")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
