"""What a network that knows some classes is worth for others, of which there are a few images.

    python -m benchmarks.transfer --data=folder:PATH [--draws=5] [--runs=DIR]

Trains the ResNet-18 of configs/transfer.py on five classes of CIFAR-10, then learns the other five
from 10 images each: from scratch, by fine-tuning, by a linear probe and by neighbours. Every draw
of images is a seed, the same for all four. Prints the accuracy on all test images of the new
classes, mean and standard deviation over draws. Runs in --runs that are finished are taken as they
are.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import imgrec_jax
from imgrec_jax.data.sources.subset import part_of
from imgrec_jax.runs.probe import classify, extract
from imgrec_jax.runs.trained import Run
from imgrec_jax.training.host import host

KNOWN = "airplane,bird,deer,frog,ship"
NEW = "automobile,cat,dog,horse,truck"
RECIPES: dict[str, dict[str, Any]] = {
    "known": {
        "epochs": 10,
        "batch_size": 128,
        "optim__learning_rate": 0.1,
        "optim__schedule": "linear(warmup=0.2)",
        "optim__layer_decay": 1.0,
        "eval_every": 1,
        "checkpoint__every_steps": 0,
    },
    "from scratch": {"optim__layer_decay": 1.0},
    "fine-tuned": {},
}
"""What differs from configs/transfer.py."""


def main() -> None:
    """Train, transfer, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="the ten classes of CIFAR-10, kind:where")
    parser.add_argument("--examples", type=int, default=10, help="of each new class")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    options = parser.parse_args()
    host.keep_compiled_programs()
    host.make_cpu_devices("auto", 50)

    known = _train(options, "known", **RECIPES["known"], data__classes=KNOWN)
    print(f"five known classes: {known.metrics['test_accuracy']:.4f}", flush=True)
    source = known.splits(options.data)
    test = extract(known, part_of(source, options.data, classes=NEW)["test"])

    scores: dict[str, list[float]] = {}
    for draw in range(options.draws):
        for way in ("from scratch", "fine-tuned"):
            scores.setdefault(way, []).append(_learn(options, way, draw))
        few = part_of(
            source, options.data, classes=NEW, examples_per_class=options.examples, seed=draw
        )
        probed = classify(extract(known, few["train"]), test, len(NEW.split(",")))
        for way in ("linear", "neighbours"):
            scores.setdefault(way, []).append(probed[way])
        print(json.dumps({way: values[-1] for way, values in scores.items()}), flush=True)
    for way, values in scores.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{way:<14} {100 * statistics.mean(values):5.1f} ± {100 * spread:.1f} %")


def _learn(options: argparse.Namespace, way: str, draw: int) -> float:
    """Return the accuracy after learning the new classes from one draw of images."""
    start = "" if way == "from scratch" else str(options.runs / "known")
    run = _train(
        options,
        f"{way.replace(' ', '_')}_{options.examples}_seed{draw}",
        **RECIPES[way],
        seed=draw,
        init_from=start,
        data__classes=NEW,
        data__examples_per_class=options.examples,
    )
    return run.metrics["test_accuracy"]


def _train(options: argparse.Namespace, name: str, **keys: Any) -> Run:
    config = imgrec_jax.get_config("transfer", data__source=options.data, log__report=False, **keys)
    return imgrec_jax.train(config, options.runs / name)


if __name__ == "__main__":
    main()
