"""What a thread prints on C's stderr is collected for it, and only for it."""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgrec_jax.data.images import decoder_messages
from imgrec_jax.data.images.decoder_messages import collected

pytestmark = pytest.mark.skipif(decoder_messages._stream() is None, reason="needs glibc")


def print_error(text):
    library = ctypes.CDLL(None)
    stderr = ctypes.c_void_p.in_dll(library, "stderr")
    library.fputs(text.encode(), stderr)
    library.fflush(stderr)


def test_messages_are_collected(capfd):
    with collected() as messages:
        print_error("first\n")
        print_error("second\n")
    assert messages == ["first\n", "second\n"]
    print_error("third\n")
    assert messages == ["first\n", "second\n"]
    assert capfd.readouterr().err == "third\n"


def test_inner_contexts_collect_their_own(capfd):
    with collected() as outer:
        with collected() as inner:
            print_error("inner\n")
        print_error("outer\n")
    assert (outer, inner) == (["outer\n"], ["inner\n"])
    assert capfd.readouterr().err == ""


def test_an_error_ends_collecting(capfd):
    with pytest.raises(ValueError, match="x"), collected():
        raise ValueError("x")
    print_error("after\n")
    assert capfd.readouterr().err == "after\n"


def test_other_threads_print_on(capfd):
    with collected() as messages:
        thread = threading.Thread(target=print_error, args=["other\n"])
        thread.start()
        thread.join()
        print_error("own\n")
    assert messages == ["own\n"]
    assert capfd.readouterr().err == "other\n"


def test_each_of_many_threads_gets_its_own(capfd):
    def work(number):
        with collected() as messages:
            print_error(f"{number}\n")
            print_error(f"again {number}\n")
        return messages == [f"{number}\n", f"again {number}\n"]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
    assert capfd.readouterr().err == ""
    assert decoder_messages._collecting == {}
