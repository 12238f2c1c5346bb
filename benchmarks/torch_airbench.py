"""Whole trainings of an original of cifar10-airbench: the other side of airbench.py.

Answers each line on its standard input with the accuracy (of all views) and the seconds of a run,
as the original itself counts them. Its code is taken from `--original` and run as it is, in a
folder with the images in the form that it reads. It knows nothing of imgrec_jax.
"""

import argparse
import contextlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_images(source: str, folder: Path) -> None:
    """Write `cifar10/train.pt` and `test.pt`, which the original would make of a download."""
    (folder / "cifar10").mkdir()
    with np.load(source, allow_pickle=False) as arrays:
        for name in ("train", "test"):
            made = {
                "images": torch.from_numpy(arrays[f"{name}_images"]),
                "labels": torch.from_numpy(arrays[f"{name}_labels"]).long(),
                "classes": list(CLASSES),
            }
            torch.save(made, folder / "cifar10" / f"{name}.pt")


def load(path: str) -> Any:
    """Return the original as a module; what it does as a program is not begun."""
    spec = importlib.util.spec_from_file_location("original", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trainer(original: Any) -> Callable[[int], float]:
    """Return its function of a run's number that trains and returns the accuracy.

    The compiled form takes two networks: one whose whitening bias learns, one where it does not.
    """
    takes = list(inspect.signature(original.main).parameters)
    if takes == ["run"]:
        return original.main
    if takes != ["run", "model_trainbias", "model_freezebias"]:
        raise SystemExit(
            f"expected an original whose main(run) trains, or its compiled form, got "
            f"main({', '.join(takes)}); try legacy/airbench94.py"
        )
    learns, frozen = original.make_net(), original.make_net()
    frozen[0].bias.requires_grad = False
    networks = [torch.compile(net, mode="max-autotune") for net in (learns, frozen)]
    return lambda run: original.main(run, *networks)


def main() -> None:
    """Answer each line with a run; what the original prints goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", required=True)
    parser.add_argument("--images", required=True, help="an .npz file of both splits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_images(options.images, Path(folder))
        os.chdir(folder)
        original = load(options.original)
        details: dict[str, Any] = {}
        original.print_training_details = lambda variables, is_final_entry: details.update(
            variables
        )
        train, runs = trainer(original), itertools.count()
        for _ in sys.stdin:
            with contextlib.redirect_stdout(sys.stderr):
                accuracy = train(next(runs))
            seconds = details["total_time_seconds"]
            print(json.dumps({"seconds": seconds, "accuracy": accuracy}), flush=True)


if __name__ == "__main__":
    main()
