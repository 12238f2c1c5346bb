"""All that is to be measured on a GPU, in less than nine minutes.

    python -m benchmarks.gpu [--data=SOURCE] [--airbench94=PATH] [--images=PATH]
    python -m benchmarks.gpu --parts=airbench96 --data=SOURCE --airbench96=PATH

Each part is a benchmark of its own, in a process of its own, that is ended when its time is over.
Without `--parts` come all but `airbench96` and `work`, which take a call of their own. SOURCE is a
`data.source` with CIFAR-10, PATH an original of KellerJordan/cifar10-airbench on GitHub
(legacy/airbench94.py, legacy/airbench96.py), or a folder or tar of JPEG files of ImageNet's size.
A part that fails, lacks something or takes too long says so in one line, and the others go on.
`--tiny` tries all of it on any machine, with sizes that mean nothing.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

LONG = ("airbench96", "work")
"""Parts that need all the time, and so come by name alone."""

_WHOLE = 535  # seconds for all parts
_LAST = 12  # seconds before the end of a part, from when on it begins no further round


@dataclass(frozen=True)
class Part:
    """A benchmark, its arguments, and how many seconds it may take.

    `tiny` are arguments that are added for a try.
    """

    module: str
    seconds: int
    arguments: Sequence[str] = ()
    tiny: Sequence[str] = ()


def main() -> int:
    """Run the parts that are asked for; return 1 where one of them gave no result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="", help="such as resnet50,sweep; '': all that fit")
    parser.add_argument("--data", default="", help="a data.source with CIFAR-10")
    parser.add_argument("--airbench94", default="", help="the original, a file")
    parser.add_argument("--airbench96", default="", help="the original, a file")
    parser.add_argument("--first-seed", type=int, default=0, help="of airbench; to add runs later")
    parser.add_argument("--images", default="", help="a folder or tar of JPEG files")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--tiny", action="store_true", help="sizes that any machine can do")
    options = parser.parse_args()
    known = parts(options)
    usual = [name for name in known if name not in LONG]
    chosen = options.parts.split(",") if options.parts else usual
    if strangers := [name for name in chosen if name not in known]:
        parser.error(f"expected parts of {', '.join(known)}, got {strangers[0]}")
    started, failed = time.monotonic(), 0
    for name in chosen:
        left = _WHOLE - (time.monotonic() - started)
        print(f"\n== {name}", flush=True)
        why = run(known[name], left, tiny=options.tiny)
        if why:
            print(f"{name}: {why}", flush=True)
        failed += bool(why)
    print(f"\n{len(chosen) - failed} of {len(chosen)} parts, {time.monotonic() - started:.0f} s")
    return int(failed > 0)


def parts(options: argparse.Namespace) -> dict[str, Part]:
    """Return all parts by name, the most wanted first."""
    torch = f"--torch-python={options.torch_python}"

    def airbench(recipe: str, seconds: int) -> Part:
        arguments = [f"--recipe=cifar10_{recipe}", f"--original={getattr(options, recipe)}", torch]
        arguments += [f"--data={options.data}", f"--first-seed={options.first_seed}"]
        tiny = ["--epochs=1", "--rounds=1"]
        return Part("airbench", seconds, _until([*arguments, "--rounds=20"], seconds), tiny)

    def images(model: str, seconds: int, *more: str) -> Part:
        arguments = [f"--model={model}", "--batch=256", "--steps=10", "--rounds=5"]
        arguments += ["--side=8192", torch, *more]
        tiny = ["--model=convnet", "--batch=16", "--side=64", "--steps=2", "--rounds=1"]
        return Part("train_step", seconds, _until(arguments, seconds), tiny)

    folder = [f"--images={options.images}"]
    small = ["--model=convnet", "--batch=16"]
    few = [*small, "--steps=2", "--rounds=1"]
    return {
        "airbench94": airbench("airbench94", 150),
        "resnet50": images("resnet50", 85),
        "vit_s16": images("vit_s16", 60, "--plain"),
        "vit_b16": images("vit_b16", 55),
        "sweep": Part(
            "together",
            30,
            ["--widths=32", "--networks=1,4,16,64", "--rounds=3"],
            ["--widths=2", "--networks=1,2", "--rounds=1"],
        ),
        "waiting": Part("waiting", 50, [*folder, "--steps=10", "--rounds=3"], few),
        "modes": Part("modes", 35, ["--rounds=9"], few),
        "memory": Part("memory", 30, ["--models=resnet50"], ["--models=convnet", "--batch=16"]),
        "deterministic": Part("deterministic", 20, ["--rounds=3"], few),
        "transfers": Part("transfers", 20, (), small),
        "airbench96": airbench("airbench96", 520),
        "work": Part("work", 520, ["--rounds=5"], ["--tables=evaluation", "--rounds=1"]),
    }


def run(part: Part, left: float, *, tiny: bool) -> str:
    """Run a part in the time that it has, or that is left; return why it gave no result, or ""."""
    if "--data=" in part.arguments:
        return "expected --data, a data.source with CIFAR-10, got none"
    seconds = min(part.seconds, left)
    if seconds < 1:
        return "no time is left for it; try --parts"
    command = [sys.executable, "-m", f"benchmarks.{part.module}", *part.arguments]
    command += part.tiny if tiny else ()
    # A group of its own, so that the programs that it starts end with it.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"not done after {seconds:.0f} s, ended; try --parts"
    finally:
        _end(process)
    return f"ended with status {status}; its words are above" if status else ""


def _until(arguments: Sequence[str], seconds: int) -> list[str]:
    return [*arguments, f"--seconds={seconds - _LAST}"]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it has started; nothing happens where all of it is over."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
