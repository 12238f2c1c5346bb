"""Enable huge pages for large buffers, which requires restarting the process under glibc."""

import os
import sys
from pathlib import Path

from imgrec_jax.core.stop_signals import block_stop_signals, restore_signals

_TUNABLES = "GLIBC_TUNABLES"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages(package: str = "imgrec_jax", kernel: Path = _KERNEL) -> None:
    """Restart this command with huge pages for large buffers, if that makes a difference.

    XLA allocates the memory of a CPU program anew at each step, and the kernel maps it page by
    page: with pages of 2 MiB instead of 4 KiB a step of ResNet-18 takes a seventh less CPU time,
    one of ViT-Ti 30 % less. Does nothing without Linux and glibc, if the kernel always or never
    uses such pages, if GLIBC_TUNABLES is set (an empty value turns this off), or in any process
    that is not `python -m PACKAGE...` alone (a notebook, a test, a debugger).
    """
    if _TUNABLES in os.environ or not _is_alone(package, sys.orig_argv, sys.argv):
        return
    try:
        on_request = "[madvise]" in kernel.read_text(encoding="ascii")
    except OSError:
        return
    if on_request:
        sys.stdout.flush()
        variables = {**os.environ, _TUNABLES: "glibc.malloc.hugetlb=1"}
        command = [sys.executable, *sys.orig_argv[1:]]
        # Python would end with a traceback, or silently, before the new process handles them.
        waiting = block_stop_signals()
        try:
            os.execve(sys.executable, command, variables)
        finally:
            restore_signals(waiting)


def _is_alone(package: str, original: list[str], arguments: list[str]) -> bool:
    """Return whether Python was started as `python -m PACKAGE...` or as the script `imgrec`."""
    program = original[: len(original) - len(arguments) + 1]
    if "-m" in program:
        module = program[program.index("-m") + 1 :]
        return len(module) == 1 and module[0].split(".")[0] == package
    return len(program) == 2 and Path(program[1]).name == "imgrec"
