"""The pages of the documentation, the blocks of code on them, and the commands in these."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("README*.md"), *DOCS.glob("*.md")]
)

RUN = {"bash", "python"}
SHOWN = {"text", "layout"}  # what is printed, how a folder is laid out, a line of a table
FOR_SPHINX = {"{toctree}", "{image}", "{eval-rst}", "{experiment-records}"}

NOT_RUN = {
    r"^make |pip3? (install|wheel)|-m venv|/activate$": "sets an environment up, as .ci/run does",
    r"-m pytest": "is what is running",
    r"^sbatch ": "needs SLURM: tests/cluster/slurm.sh runs it",
    r"^launch/tpu_vm\.sh": "needs a Cloud TPU",
    r"^kubectl ": "needs a Kubernetes cluster",
    r"^(chromium|jupyter|tensorboard) ": "opens a window, or serves until it is stopped",
    r" --web$": "serves until it is stopped: tests/cli/test_web.py visits it",
    r"images_background_small": "needs Omniglot",
    r"benchmarks\.": "takes minutes, and some need PyTorch or CIFAR-10",
    r"[= ](\S*\.safetensors|hf:)": "needs downloaded weights: tests/weights makes its own",
}
"""Commands that are parsed alone, each with the reason; patterns that are searched for in them."""


class Block(NamedTuple):
    """A block of code: its language, its text, and the line of the page that it starts on."""

    language: str
    text: str
    line: int


def read(page: str) -> str:
    """Return the Markdown of a page, named by its path from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """Return all blocks of a page; what is indented by four spaces is one of bash."""
    found, lines, number = [], read(page).splitlines(), 0
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if line.startswith("```"):
            end = lines.index("```", number)
            language = line.removeprefix("```").partition(" ")[0]
            found.append(Block(language, "\n".join(lines[number:end]), first))
            number = end + 1
        elif line.startswith("    ") and not lines[number - 2].strip():
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number]):
                number += 1
            inside = [text.removeprefix("    ") for text in lines[first - 1 : number]]
            found.append(Block("bash", "\n".join(inside).strip("\n"), first))
    return found


def commands(block: Block) -> list[list[str]]:
    """Return the words of each command of a bash block; loops are undone, their variables 0.

    Comments are left out, and what is done with the output.
    """
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(re.sub(r"\$\w+", "0", line), comments=True)
        if not words or words[0] in {"for", "done", "do"}:
            continue
        for redirection in {"<", ">", "2>", "|"} & set(words):
            words = words[: words.index(redirection)]
        found.append(words)
    return found


def why_not(command: str) -> str:
    """Return why a command is not run here; "" where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), "")


def runnable(block: Block) -> str:
    """Return a bash block without the commands that are not run."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return "\n".join(line for line in lines if not why_not(line.strip()))
