"""A command ends on a signal wherever it is, and nothing swallows that."""

import os
import signal
import subprocess
import sys

import pytest

from imgrec_jax.core.errors import STOPPED
from imgrec_jax.training.host.signals import STOPS_WITH_STDIN

PROGRAM = """
import ctypes, sys, threading, time
from imgrec_jax.training.host.signals import run_command, stop_requests

def ready():
    print("ready", flush=True)

def waits_in_python():
    ready()
    threading.Event().wait()

def waits_in_c():
    ready()
    while True:  # the function returns after a signal
        ctypes.CDLL(None).pause()

def catches_all():
    ready()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def calls_back():
    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def compare(one, other):
        threading.Event().wait(0.001)
        return 0
    ready()
    while True:
        ctypes.CDLL(None).qsort(ctypes.create_string_buffer(8), 8, 1, compare)

def saves_first():
    with stop_requests() as stop_requested:
        ready()
        while not stop_requested():
            time.sleep(0.001)
    print("saved", flush=True)
    return 75

def saves_for_ever():
    with stop_requests() as stop_requested:
        ready()
        while not stop_requested():
            time.sleep(0.001)
        print("saving", flush=True)
        threading.Event().wait()

def has_ended():
    import atexit
    atexit.register(lambda: print("ready", flush=True) or time.sleep(60))
    return 3

sys.exit(run_command(globals()[sys.argv[1]]))
"""
LINE = "\nStopped. The same command resumes what is saved, or starts again.\n"


def start(main, **variables):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, main],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("main", ["waits_in_python", "waits_in_c", "catches_all", "calls_back"])
def test_a_signal_ends_a_command_wherever_it_is(main, number):
    process = start(main)
    process.send_signal(number)
    assert process.communicate() == ("", LINE)
    assert process.returncode == STOPPED


def test_a_run_saves_first_and_a_second_signal_ends_it():
    process = start("saves_first")
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("saved\n", "")
    assert process.returncode == STOPPED
    process = start("saves_for_ever")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", LINE)
    assert process.returncode == STOPPED


def test_a_command_that_has_finished_keeps_its_status():
    process = start("has_ended")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode in {3, -signal.SIGINT}
    assert "Stopped" not in err


@pytest.mark.parametrize("main", ["waits_in_c", "saves_first"])
def test_a_command_stops_when_its_parent_has_ended(main):
    process = start(main, **{STOPS_WITH_STDIN: "1"})
    out, err = process.communicate()  # closes its standard input
    assert process.returncode == STOPPED
    assert (out, err) == (("saved\n", "") if main == "saves_first" else ("", LINE))
