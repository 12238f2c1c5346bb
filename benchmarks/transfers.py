"""Whether training sends or reads anything by the way: the loop under JAX's transfer guard.

    python -m benchmarks.transfers [--model=resnet18] [--batch=128]

A short run, with its log, evaluation and checkpoints, in which JAX refuses every transfer that
is not asked for. A GPU shows those in both directions, a CPU those to the device alone. Prints
one JSON line; ends with status 1 where there was one.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.steps import made_up
from benchmarks.turns import environment
from imgrec_jax.training import loop
from imgrec_jax.training.experiment import Experiment
from imgrec_jax.training.host import host
from imgrec_jax.training.workdir.files import Workdir

_WATCHED = ("call", "evaluate", "save")


def main() -> int:
    """Train under the guard and return 1 where it had something to refuse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    host.keep_compiled_programs()
    refused = ""
    try:
        steps = train_guarded(made_up(options.model, options.batch, eval_batch_size=options.batch))
        print(f"{steps} steps, an evaluation and a checkpoint without a transfer by the way")
    except jax.errors.JaxRuntimeError as error:
        refused = str(error).partition("\n")[0]
        print(f"expected no transfer by the way, got '{refused}'")
    line = {"benchmark": "transfers", "model": options.model, "batch": options.batch}
    print(json.dumps({**line, "refused": refused, **environment()}))
    return bool(refused)


def train_guarded(experiment: Experiment) -> int:
    """Train for two epochs in a folder of its own; return the steps that were taken.

    Raises:
        JaxRuntimeError: something was sent or read by the way.
    """
    events = dataclasses.replace(experiment.events, epochs=2)
    made = dataclasses.replace(experiment, events=events)
    with tempfile.TemporaryDirectory() as folder, _guarded():
        workdir = Workdir(Path(folder))
        workdir.create()
        _, progress = loop.fit(made, workdir, made.init(), lambda line: None)
    return progress.step


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    """Put the parts of the loop that come back again and again under the guard."""
    whole: Any = loop._Loop
    free = {name: getattr(whole, name) for name in _WATCHED}

    def watched(part: Callable[..., Any]) -> Callable[..., Any]:
        def within(*arguments: Any, **settings: Any) -> Any:
            with jax.transfer_guard("disallow"):
                return part(*arguments, **settings)

        return within

    try:
        for name, part in free.items():
            setattr(whole, name, watched(part))
        yield
    finally:
        for name, part in free.items():
            setattr(whole, name, part)


if __name__ == "__main__":
    sys.exit(main())
