"""How quickly images come: from JPEG files, from memory, and out of a folder of a million.

    python -m benchmarks.input_pipeline --images=PATH [--torch-python=PATH] [--tf-python=PATH]

PATH is a folder or tar of JPEG files, best real ones of ImageNet's size. Three tables:

- Images per second, and per second of CPU time, from files to batches of 224x224: read,
  decoded, randomly cropped, mirrored. Ours is the pipeline of a run (workers, batches ahead) with
  its flip on the device; beside it torch's `DataLoader` with Pillow and tf.data with
  `decode_and_crop_jpeg` (at the same work, and with TensorFlow's own sampler and transform), each
  with as many workers, by the interpreters that have them. They take turns, and a ratio is the
  median of those within a turn. On a busy machine the CPU time is what can be compared.
- Batches of 32x32 from the cache of decoded images, by their gathering alone.
- Seconds to list a folder of `--files` images, in a fresh process, for the first time and again.

Ends with one JSON line.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.core.host_cores import core_count
from imgrec_jax.core.huge_pages import restart_with_huge_pages
from imgrec_jax.data.cache.decoded import cached
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.loading.prefetch import TrainBatchesAhead
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.data.workers.pool import with_workers
from imgrec_jax.training.workdir.provenance import versions

HERE = Path(__file__).resolve().parent
SIZE = 224
LISTING = """
import json, re, sys, time
from imgrec_jax.data.formats.folder import find_images
started = time.perf_counter()
layout = find_images(sys.argv[1]).layout
seconds = time.perf_counter() - started
arrays = [a for names in layout.names.values() for a in (names.text, names.ends)]
arrays += layout.labels.values()
peak = int(re.search("VmHWM:\\s*([0-9]+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps({"seconds": seconds, "images": len(layout), "peak_mb": peak,
                  "index_mb": sum(a.nbytes for a in arrays) / 2**20}))
"""

Rates = dict[str, list[tuple[float, float]]]
"""By program, images per second and per second of CPU time, in each turn."""


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="", help="a folder or tar of JPEG files")
    parser.add_argument("--torch-python", default="", help="a Python with torch and Pillow")
    parser.add_argument("--tf-python", default="", help="a Python with tensorflow")
    parser.add_argument("--workers", type=int, default=core_count())
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=60, help="that count, of each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--files", type=int, default=1_281_167, help="of the folder; 0: no folder")
    options = parser.parse_args()
    restart_with_huge_pages("benchmarks")  # as the command for training does

    result: dict[str, object] = {"cores": os.cpu_count(), "machine": platform.platform()}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["IMGREC_JAX_CACHE"] = f"{scratch}/cache"
        if options.images:
            folder = class_folders(Path(options.images), Path(scratch) / "images")
            rates = decoding_rates(folder, options)
            report(rates, options.workers)
            result["decode"] = rates
        result["cached"] = cached_rates()
        for name, rate in result["cached"].items():
            print(f"32x32 from the cache, {name}: {rate:,.0f} images/s")
        if options.files:
            result["listing"] = listing_seconds(Path(scratch), options.files)
            for when, found in result["listing"].items():
                print(
                    f"{found['images']:,.0f} files listed {when}: {found['seconds']:.2f} s, "
                    f"index {found['index_mb']:.0f} MB, process {found['peak_mb']:.0f} MB"
                )
    print(json.dumps({**result, **versions()}))


def class_folders(where: Path, target: Path) -> Path:
    """Return a folder with the JPEG files of a folder or tar, in two classes."""
    for number, (name, data) in enumerate(sorted(read_images(where))):
        path = target / "ab"[number % 2] / f"{number}_{Path(name).name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return target


def read_images(where: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and contents of all JPEG files of a folder or tar."""
    suffixes = (".jpg", ".jpeg")
    if where.is_dir():
        for path in where.rglob("*"):
            if path.suffix.lower() in suffixes:
                yield str(path), path.read_bytes()
        return
    with tarfile.open(where) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content and member.name.lower().endswith(suffixes):
                yield member.name, content.read()


def decoding_rates(folder: Path, options: argparse.Namespace) -> Rates:
    """Return images per second of each program in each turn."""
    programs: dict[str, Callable[[], tuple[float, float]]] = {
        "imgrec_jax": lambda: our_rate(folder, options)
    }
    for name, python, *flags in (
        ("torch", options.torch_python),
        ("tf", options.tf_python),
        ("tf_defaults", options.tf_python, "--defaults"),
    ):
        if python:
            script = [python, str(HERE / f"{name.partition('_')[0]}_input_pipeline.py"), *flags]
            programs[name] = lambda script=script: peer_rate(script, folder, options)
    rates: Rates = {name: [] for name in programs}
    for _ in range(options.turns):
        for name, program in programs.items():
            rates[name].append(program())
    return rates


def our_rate(folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return both rates of the pipeline that a run has, with its flip on the device."""
    with memory_limit.limited(0):
        source = open_folder(str(folder), image_size=SIZE)["train"]
    assert isinstance(source, EncodedSource)
    source = dataclasses.replace(source, crop=RandomResizedCrop(seed=0))
    warm = 16  # until all workers have started, and what is made ahead is made
    steps = warm + options.batches
    long = Rows(source, np.arange(steps * options.batch) % len(source))  # one epoch for all of it
    reader = with_workers({"train": long}, options.workers)["train"]
    batches = TrainBatchesAhead(TrainBatches(reader, options.batch, seed=0), last=steps)
    flip = jax.jit(lambda x, coins: jnp.where(coins[:, None, None, None], x[:, :, ::-1], x))
    coins = np.arange(options.batch) % 2 == 0
    started = used = 0.0
    for step in range(steps):
        if step == warm:
            started, used = time.perf_counter(), cpu_seconds()
        batch = batches(step)
        jax.block_until_ready(flip(batch["image"][0], coins))
    seen = options.batches * options.batch
    return seen / (time.perf_counter() - started), seen / (cpu_seconds() - used)


def cpu_seconds(process: str = "self") -> float:
    """Return the CPU time of a process and of all that it has started, from Linux's /proc."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = " ".join(task.read_text(encoding="utf-8") for task in tasks).split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, children))


def peer_rate(script: list[str], folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return both rates of another program with the same work."""
    command = [*script, f"--folder={folder}"]
    command += [f"--{key}={getattr(options, key)}" for key in ("workers", "batch", "batches")]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    for ours in ("PYTHONPATH", "GLIBC_TUNABLES"):
        quiet.pop(ours, None)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["images_per_second"], found["per_core"]


def cached_rates(count: int = 50_000, seconds: float = 2.0) -> dict[str, float]:
    """Return images per second of batches of 32x32 that lie decoded in the cache, by batch size."""
    shape = (count, 32, 32, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    made = ArraySource(images, np.arange(count, dtype=np.int32) % 10, tuple("0123456789"))
    cached("benchmark", lambda: {"train": made})
    source = cached("benchmark", dict)["train"]  # as the second start finds it
    rates = {}
    for size, partners in ((64, False), (512, False), (512, True)):
        batches = TrainBatches(source, size, seed=0, partners=partners)
        batches(0)
        step, started = 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            batches(step)
            step += 1
        rate = batches.examples(step) / (time.perf_counter() - started)
        rates[f"batches of {size}{' with partners' if partners else ''}"] = rate
    return rates


def listing_seconds(scratch: Path, files: int) -> dict[str, Mapping[str, float]]:
    """Return what it takes to list so many files in 1,000 folders, first and again."""
    root = scratch / "million"
    for number in range(1000):
        folder = root / f"n{number:08}"
        folder.mkdir(parents=True)
        for file in range(number, files, 1000):
            os.mknod(folder / f"n{number:08}_{file}.JPEG")
    time.sleep(3)  # a list is kept when nothing has changed for two seconds
    command = [sys.executable, "-c", LISTING, str(root)]
    found = {}
    for when in ("first", "again"):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[when] = json.loads(done.stdout)
    shutil.rmtree(root)
    return found


def report(rates: Rates, workers: int) -> None:
    """Print the rates of all programs: the median of all turns, and the range of the ratios."""
    turns = len(rates["imgrec_jax"])
    print(f"{SIZE}x{SIZE} from JPEG files, {workers} workers, {turns} turns; images per second")
    print(f"{'program':<12} {'wall':>7} {'ours / it':>18} {'of CPU time':>13} {'ours / it':>18}")
    for name, found in rates.items():
        cells = []
        ours_and_its = zip(*rates["imgrec_jax"], strict=True), zip(*found, strict=True)
        for ours, its in zip(*ours_and_its, strict=True):
            ratios = [us / it for us, it in zip(ours, its, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            cells += [statistics.median(its), "" if name == "imgrec_jax" else spread]
        wall, first, cpu, second = cells
        print(f"{name:<12} {wall:>7,.0f} {first:>18} {cpu:>13,.0f} {second:>18}")


if __name__ == "__main__":
    main()
