"""Images per second that PyTorch reads, decodes, crops and mirrors; run by `input_pipeline`.

    python benchmarks/torch_input_pipeline.py --folder=PATH --workers=2

The program that people write: a `Dataset` that opens each file with Pillow, takes a random area of
8 to 100 % with a ratio of 3/4 to 4/3 (as torchvision's RandomResizedCrop draws it), resizes it to
224x224 (bilinear, Pillow's) and mirrors every other one; a `DataLoader` with worker processes, and
batches of uint8. Needs torch, Pillow and numpy, and nothing of this project.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image


class Images(torch.utils.data.Dataset):
    """The files of a folder, over and over."""

    def __init__(self, folder: str, size: int, length: int) -> None:
        self._paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        self._size, self._length = size, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self._paths[row % len(self._paths)]) as file:
            image = file.convert("RGB")
        left, top, width, height = random_area(*image.size)
        box = (left, top, left + width, top + height)
        image = image.resize((self._size, self._size), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)), row % 1000


def random_area(width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a random part of an image."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def cpu_seconds(process: str = "self") -> float:
    """Return the CPU time of a process and of all that it has started, from Linux's /proc."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = " ".join(task.read_text(encoding="utf-8") for task in tasks).split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, children))


def main() -> None:
    """Time batches from the second on and print the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warm = max(2, 2 * options.workers)  # batches that the workers have made before time counts
    length = options.batch * (options.batches + warm)
    loader = torch.utils.data.DataLoader(
        Images(options.folder, options.size, length),
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
    )
    batches = iter(loader)
    for _ in range(warm):
        next(batches)
    started, used, seen = time.perf_counter(), cpu_seconds(), 0
    for images, _ in batches:
        seen += len(images)
        if seen == options.batch * (options.batches - 1):
            used = cpu_seconds() - used  # before the workers are gone
    rate = seen / (time.perf_counter() - started)
    per_core = (seen - options.batch) / used
    found = {"images_per_second": rate, "per_core": per_core, "version": torch.__version__}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
