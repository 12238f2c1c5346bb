"""Large buffers come in huge pages where the kernel gives them on request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgrec_jax.core.huge_pages import restart_with_huge_pages

COMMAND = ["python", "-X", "utf8", "-m", "imgrec_jax.main", "--config=digits"]


@pytest.fixture
def restarts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """The commands that would have been started anew, with what glibc is told."""
    made: list[tuple[list[str], str]] = []

    def execve(path: str, command: list[str], variables: dict[str, str]) -> None:
        assert path == command[0] == sys.executable
        made.append((command[1:], variables["GLIBC_TUNABLES"]))

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "orig_argv", COMMAND)
    monkeypatch.setattr(sys, "argv", ["/where/imgrec_jax/main.py", "--config=digits"])
    return made


@pytest.fixture
def on_request(tmp_path: Path) -> Path:
    """What a kernel that gives huge pages on request says."""
    return _written(tmp_path, "always [madvise] never\n")


def _written(folder: Path, text: str) -> Path:
    file = folder / "enabled"
    file.write_text(text, encoding="ascii")
    return file


def test_our_command_starts_anew(restarts: list[tuple[list[str], str]], on_request: Path) -> None:
    restart_with_huge_pages(kernel=on_request)
    assert restarts == [(COMMAND[1:], "glibc.malloc.hugetlb=1")]


def test_the_installed_script_starts_anew(
    monkeypatch: pytest.MonkeyPatch, restarts: list[tuple[list[str], str]], on_request: Path
) -> None:
    command = ["python", "/bin/imgrec", "train", "--config=digits"]
    monkeypatch.setattr(sys, "orig_argv", command)
    monkeypatch.setattr(sys, "argv", command[1:])
    restart_with_huge_pages(kernel=on_request)
    assert restarts == [(command[1:], "glibc.malloc.hugetlb=1")]


@pytest.mark.parametrize("tunables", ["", "glibc.malloc.check=1"])
def test_what_the_user_says_stays(
    monkeypatch: pytest.MonkeyPatch,
    restarts: list[tuple[list[str], str]],
    on_request: Path,
    tunables: str,
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    restart_with_huge_pages(kernel=on_request)
    assert not restarts


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "pdb", "-m", "imgrec_jax.main", "--config=digits"],
        ["python", "-m", "pytest", "--config=digits"],
        ["python", "-m", "ipykernel_launcher", "--config=digits"],
        ["python", "research.py", "--config=digits"],
        ["python"],
    ],
)
def test_no_other_process_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
    restarts: list[tuple[list[str], str]],
    on_request: Path,
    command: list[str],
) -> None:
    monkeypatch.setattr(sys, "orig_argv", command)
    if command[1:3] == ["-m", "pdb"]:  # which shows a program its own arguments
        monkeypatch.setattr(sys, "argv", ["/where/imgrec_jax/main.py", "--config=digits"])
    else:
        monkeypatch.setattr(sys, "argv", command[-2:])
    restart_with_huge_pages(kernel=on_request)
    assert not restarts


@pytest.mark.parametrize("text", ["[always] madvise never\n", "always madvise [never]\n", None])
def test_kernels_that_are_not_asked(
    restarts: list[tuple[list[str], str]], tmp_path: Path, text: str | None
) -> None:
    kernel = tmp_path / "none" if text is None else _written(tmp_path, text)
    restart_with_huge_pages(kernel=kernel)
    assert not restarts


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux alone")
def test_a_command_started_anew_says_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgrec_jax.main", "--config=digits", "--plan=2xnothing"]
    tunables = []
    for variables in ({}, {"GLIBC_TUNABLES": ""}):
        environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | variables
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        tunables.append((ended.returncode, ended.stderr))
    assert tunables[0] == tunables[1]
    assert tunables[0][0] == 2
