"""launch/local.sh with small stand-ins for the training command."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "local.sh"
WHERE = r"--config\.parallel\.multihost=127\.0\.0\.1:(\d+),(\d+)/(\d+)"

# What a stand-in begins with: its number, from the flag that the script appends.
RANK = "where=${1##*,}; rank=${where%/*}; "
# Waits for a signal for ever; the sleep ends with the script.
WAIT = "sleep infinity & wait $!"


@pytest.fixture
def local(tmp_path):
    """Return a function that starts the script; what is left at the end is killed."""
    started = []

    def start(*arguments, stub, **environment):
        process = subprocess.Popen(
            [SCRIPT, *arguments, "--", "bash", "-c", RANK + stub, "stub"],
            cwd=tmp_path,
            env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    start.folder = tmp_path
    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(process):
    out, err = process.communicate()
    return process.returncode, out, err


def gone(pid_file):
    """Tell whether the process that wrote its number is there no more."""
    try:
        os.kill(int(pid_file.read_text(encoding="utf-8")), 0)
    except ProcessLookupError:
        return True
    return False


def test_every_process_gets_its_number_and_all_one_port(local):
    status, out, err = run(local("3", stub='echo "$1"'))
    assert status == 0
    seen = re.findall(WHERE, out + err)
    assert sorted(number for _, number, _ in seen) == ["0", "1", "2"]
    assert {count for _, _, count in seen} == {"3"}
    (port,) = {int(port) for port, _, _ in seen}
    assert 20000 <= port < 32768


def test_process_0_is_shown_as_it_is_and_the_others_with_their_number(local):
    _, out, err = run(local("2", stub="echo out of $rank; echo error of $rank >&2"))
    assert out == "out of 0\n"
    assert sorted(err.splitlines()) == ["[1] error of 1", "[1] out of 1", "error of 0"]


def test_the_command_arrives_word_by_word(tmp_path):
    done = subprocess.run(
        [SCRIPT, "1", "--", "printf", "<%s>", "a b", "*", "", "$HOME"],
        cwd=tmp_path,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("<a b><*><><$HOME><--config.parallel.multihost=127.0.0.1:")


@pytest.mark.parametrize("status", [1, 2, 3, 137])
def test_a_failure_ends_the_others_and_is_passed_on(local, tmp_path, status):
    stub = f"echo $$ > pid$rank; if [ $rank = 1 ]; then read -r < go; exit {status}; fi; "
    os.mkfifo(tmp_path / "go")
    process = local("3", stub=f"{stub} echo ready; {WAIT}")
    assert process.stdout.readline() == "ready\n"
    assert process.stderr.readline() == "[2] ready\n"
    (tmp_path / "go").write_text("now\n", encoding="utf-8")
    code, _, err = run(process)
    assert code == status
    assert err == f"local.sh: process 1 ended with status {status}\n"
    assert gone(tmp_path / "pid0")
    assert gone(tmp_path / "pid2")


@pytest.mark.parametrize("killed", [0, 1])
def test_of_two_failures_at_once_the_killed_process_is_named(local, killed):
    # The other one notices in the same moment.
    stub = (
        f"echo $$ > pid$rank; [ $rank = {killed} ] && {{ read -r < go; kill -KILL $$; }}; "
        f"echo x > go; tail --pid=$(cat pid{killed}) -s 0.01 -f /dev/null; exit 1"
    )
    os.mkfifo(local.folder / "go")
    status, _, err = run(local("2", stub=stub))
    assert status == 137
    assert err == f"local.sh: process {killed} ended with status 137\n"


def test_what_does_not_end_when_asked_is_killed(local, tmp_path):
    stub = "trap '' TERM; echo $$ > pid$rank; [ $rank = 0 ] || { read -r < go; exit 3; }; "
    os.mkfifo(tmp_path / "go")
    process = local("2", stub=f"{stub} echo ready; {WAIT}", GRACE_SECONDS="0")
    assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").write_text("now\n", encoding="utf-8")
    assert run(process)[0] == 3
    assert gone(tmp_path / "pid0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_reaches_all_and_is_waited_for(local, number):
    stub = f"trap 'echo saved $rank; exit 75' {number.name}; echo ready $rank; {WAIT}"
    process = local("2", "--restarts=3", stub=stub)
    assert process.stdout.readline() == "ready 0\n"
    assert process.stderr.readline() == "[1] ready 1\n"
    process.send_signal(number)
    status, out, err = run(process)
    assert status == 75
    assert out == "saved 0\n"
    assert err == "[1] saved 1\n"


def test_who_stops_first_leaves_the_others_the_time_to_save(local):
    # Process 0 is still saving when process 1 has ended: asked to end meanwhile, it would say 9.
    stub = (
        "save() { [ $rank = 1 ] || { tail --pid=$(cat pid1) -s 0.1 -f /dev/null; sleep 0.5; }; "
        "exit 75; }; echo $$ > pid$rank; trap 'exit 9' TERM; trap save INT; echo ready $rank; "
        f"{WAIT}"
    )
    process = local("2", stub=stub)
    assert process.stdout.readline() == "ready 0\n"
    assert process.stderr.readline() == "[1] ready 1\n"
    process.send_signal(signal.SIGINT)
    assert run(process)[0] == 75


def test_ctrl_c_at_a_terminal_comes_to_each_process_once(tmp_path):
    # Were the processes in the terminal's group, they would get it from there too.
    stub = (
        "got() { echo got $rank; ((++count < 2)) || exit 75; }; trap got INT; echo ready $rank; "
        "while :; do sleep infinity & wait $!; done"
    )
    ours, terminal = os.openpty()
    with os.fdopen(ours, "rb+", buffering=0) as keyboard:
        process = subprocess.Popen(
            ["setsid", "--ctty", SCRIPT, "2", "--", "bash", "-c", RANK + stub, "stub"],
            cwd=tmp_path,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        screen = ""
        while "ready 0" not in screen or "[1] ready 1" not in screen:
            screen += keyboard.read(100).decode()
        keyboard.write(b"\x03")
        while "got 0" not in screen or "[1] got 1" not in screen:
            screen += keyboard.read(100).decode()
        keyboard.write(b"\x03")
        while screen.count("got 0") < 2 or screen.count("[1] got 1") < 2:
            screen += keyboard.read(100).decode()
        assert process.wait() == 75
    assert screen.count("got") == 4


@pytest.mark.parametrize("form", [["--restarts=3"], ["--restarts", "3"]])
def test_a_failed_run_is_started_again_until_it_ends_well(local, tmp_path, form):
    # Process 1 is killed twice; process 0 would wait for it for ever.
    stub = (
        'echo x >> starts$rank; [ "$(wc -l < starts$rank)" = 3 ] && exit; '
        f"[ $rank = 1 ] && kill -KILL $$; {WAIT}"
    )
    status, _, err = run(local("2", *form, stub=stub))
    assert status == 0
    assert (tmp_path / "starts1").read_text(encoding="utf-8") == "x\n" * 3
    assert "local.sh: starting again, 1 of 3" in err
    assert "local.sh: starting again, 2 of 3" in err
    assert "3 of 3" not in err


@pytest.mark.parametrize(("status", "starts"), [(0, 1), (1, 3), (2, 1), (75, 1), (139, 3)])
def test_restarts_are_for_failures_alone(local, tmp_path, status, starts):
    process = local("1", "--restarts=2", stub=f"echo x >> starts; exit {status}")
    assert run(process)[0] == status
    assert (tmp_path / "starts").read_text(encoding="utf-8") == "x\n" * starts


def test_a_failure_after_a_request_to_stop_is_not_tried_again(local):
    process = local("1", "--restarts=9", stub=f"trap 'exit 1' TERM; echo ready; {WAIT}")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    status, out, err = run(process)
    assert (status, out, err) == (1, "", "local.sh: process 0 ended with status 1\n")


def test_gpus_are_dealt_out_evenly(local, tmp_path):
    fake = tmp_path / "bin" / "nvidia-smi"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nfor i in 0 1 2 3; do echo "GPU $i: H"; done\n', encoding="utf-8")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    stub = "echo $JAX_LOCAL_DEVICE_IDS"
    _, out, err = run(local("2", stub=stub, JAX_PLATFORMS="", PATH=path))
    assert (out, err) == ("0,1\n", "[1] 2,3\n")
    _, out, _ = run(local("1", stub=stub, JAX_PLATFORMS="", PATH=path, CUDA_VISIBLE_DEVICES="5,7"))
    assert out == "0,1\n"
    status, _, err = run(local("5", stub=stub, JAX_PLATFORMS="", PATH=path))
    assert status == 2
    assert "expected 4 processes at most" in err
    _, out, _ = run(local("5", stub=stub, JAX_PLATFORMS="cpu", PATH=path))
    assert out == "\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "expected a number of processes, got ''"),
        (["0", "--", "true"], "expected a number of processes, got '0'"),
        (["two", "--", "true"], "expected a number of processes, got 'two'"),
        (["2", "true"], "expected -- before the command, got 'true'"),
        (["2", "--"], "expected a command after --, got none"),
        (["2", "--restarts=x", "--", "true"], "expected a number of restarts, got 'x'"),
        (["2", "--restarts"], "expected a number of restarts, got ''"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments, why):
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"local.sh: {why}; try launch/local.sh N [--restarts=K] -- COMMAND...\n"
