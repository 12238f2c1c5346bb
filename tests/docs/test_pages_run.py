"""Every block of README and docs is executed, in order, in a folder of its own for each page."""

import re

import jax
import pytest
from pages import PAGES, ROOT, RUN, blocks, commands, runnable, why_not
from world import SMALL, copy_world, make_world, run_bash

WITH_CODE = [page for page in PAGES if any(block.language in RUN for block in blocks(page))]
ONCE = [page for page in WITH_CODE if not page.endswith(".zh-CN.md")]  # these have equal blocks


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    folder.mkdir()
    make_world(folder, ROOT)
    return folder


def without_numbers(text):
    """Return the lines of what was printed, whatever was measured."""
    return {re.sub(r"[\d.,]+", "0", line) for line in text.splitlines()}


def is_flags(text):
    return all(line.startswith("--config.") for line in text.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("page", ONCE)
def test_a_page_runs(page, world, tmp_path, monkeypatch):
    code = [block for block in blocks(page) if block.language in RUN]
    bash = [block for block in code if block.language == "bash" and not is_flags(block.text)]
    here = tmp_path / "world"
    copy_world(world, here, [c for b in bash for c in commands(b) if not why_not(" ".join(c))])
    monkeypatch.chdir(here)
    print("training commands have before their own flags:", *SMALL)
    names, printed = {"__name__": "__main__"}, set()
    for block in code:
        where = f"{page}:{block.line}"
        if block in bash:
            for line in block.text.replace("\\\n", " ").splitlines():
                if why := why_not(line.strip()):
                    print(f"not run: {line}: {why}")
            done = run_bash(here, runnable(block))
            assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
            printed |= without_numbers(done.stdout)
        elif block.language == "python" and not block.text.startswith("# "):
            with jax.numpy_rank_promotion("allow"):
                exec(compile(block.text, where, "exec"), names)
    for block in blocks(page):  # how a run ends, where a page shows it
        if block.text.startswith("Finished: "):
            assert without_numbers(block.text) <= printed
