"""Main function of a worker process that reads and decodes images; see `pool`."""

import os
import pickle
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.sources import encoded
from imgrec_jax.data.sources.source import Source, gather
from imgrec_jax.data.workers.shared_memory import SharedMemory


def main(socket: int, shared: int, answers: int) -> None:
    """Answer requests until the other side closes the socket.

    Args:
        socket: descriptor of the request socket.
        shared: descriptor of the memory with the sources.
        answers: descriptor of the memory for the resulting arrays.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(socket)
    try:
        sources = _receive(connection, SharedMemory(shared))
        memory = SharedMemory(answers)
        # Errors are reported through the socket. Messages of decoders must not reach the terminal,
        # above all not those about the part of an image that a crop leaves undecoded.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        encoded.only_decode()
        while True:
            name, rows, epochs = connection.recv()
            connection.send(_answer(sources[name], rows, epochs, memory))
    except (EOFError, OSError):
        return


def _receive(connection: Connection, shared: SharedMemory) -> dict[str, Source]:
    arrays = shared.read(connection.recv())
    head = arrays.pop("head").tobytes()  # from the parent process: no file is ever unpickled
    return pickle.loads(head, buffers=arrays.values())


def _answer(source: Source, rows: Any, epochs: Any, memory: SharedMemory) -> tuple[str, Any]:
    try:
        return "arrays", memory.write(gather(source, rows, epochs))
    except UserError as error:
        return type(error).__name__, str(error)
    except Exception:
        return "crash", traceback.format_exc()
